// Choosing the K largest of E logits without sorting them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spartan {

// Writes the indices of the `top_k` largest of logits[0, count) to chosen[0, top_k), ascending by index.
// Exact ties take the lower index; NaN counts as larger than infinity; -0 equals +0.
// For any input the result is `top_k` distinct indices below `count`.
// order: scratch of `count` int32; ranks: scratch of `count` int32.
void select_largest(const float* logits, std::size_t count, std::size_t top_k, std::uint32_t* chosen,
                    std::int32_t* order, std::int32_t* ranks);

}  // namespace spartan
