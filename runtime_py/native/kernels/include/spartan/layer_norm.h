// LayerNorm of a sum, one pass over each row: torch-free kernels on raw pointers.
//
//     s    = x, or x + residual rounded to float
//     out  = (s - mean(s)) / sqrt(mean((s - mean(s))^2) + eps) * weight + bias        over the H numbers of a row
//
// Tensors are dense [rows, H], weight and bias [H]; all need the alignment of their element only, and nothing is read
// or written outside the sizes stated. `out` may be `x` or `residual` itself; no other overlap of `out` is allowed.
// A constant row (all sums equal) gives exactly the bias, at any eps above 0; a large mean costs no precision.
// Every call works on the rows [begin, end) alone; the result of a row does not depend on how rows are split.
#pragma once

#include <cstdint>

#include "spartan/memory_lookup.h"  // Status, Isa

namespace spartan {

struct LayerNorm {
  std::int64_t hidden;  // H, 1 to kMaxHidden
  const float* weight;  // [H]
  const float* bias;    // [H] or null
  float eps;            // finite, not negative
};

// x, residual (or null) and out are [rows, H]; rows [begin, end) are read and written.
Status add_layer_norm_f32(const LayerNorm& norm, const float* x, const float* residual, std::int64_t begin,
                          std::int64_t end, float* out, Isa isa = Isa::kBest);
// What kBest stands for on this machine.
Isa best_isa_layer_norm();

}  // namespace spartan
