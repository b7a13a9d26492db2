// Half precision to single: the tensors of a quantised task come in as float16 and are widened before their use.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spartan {

// to[i] = from[i] as float, exactly, infinities and NaN included. `from` holds IEEE 754 binary16. The two must not
// overlap; any alignment will do.
void widen_f16(const std::uint16_t* from, float* to, std::size_t count);

}  // namespace spartan
