// The loops of the fp32 memory lookup that each instruction set brings. Internal to the library and its tests.
//
// Strides are in elements. No function allocates, and none reads or writes past the counts it is given.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/features.h"
#include "spartan/memory_lookup.h"

namespace spartan {

struct F32Kernels {
  // out[p * out_stride + 16 b + j] = sum over h of x[p * H + h] * weights[(b * H + h) * 16 + j]
  // for p in [0, positions), b in [0, blocks), j in [0, 16): all 16 columns of a block are written.
  void (*logits)(const float* x, std::size_t positions, std::size_t hidden, const float* weights, std::size_t blocks,
                 float* out, std::size_t out_stride);
  // out[p * out_stride + r] = sum over h of x[p][h] * rows[r * H + h];  x: one pointer a position.
  void (*dots)(const float* const* x, std::size_t positions, const float* rows, std::size_t row_count,
               std::size_t hidden, float* out, std::size_t out_stride);
  // out[h] = (addend ? addend[h] : 0) + sum over i of weights[i] * base[offsets[i] + h], h in [0, columns).
  void (*weighted_sum)(const float* base, const std::size_t* offsets, const float* weights, std::size_t count,
                       const float* addend, std::size_t columns, float* out);
  // v[i] = exp(v[i]) for v[i] <= 0 or NaN, to 2 ulp; below -87 the result is at most 2e-38, not exactly 0.
  void (*exp_nonpositive)(float* v, std::size_t count);
  // LayerNorm of one row in place; bias may be null.
  void (*normalize)(float* row, std::size_t hidden, const float* weight, const float* bias, float eps);
};

#define SPARTAN_F32(isa, suffix, features) extern const F32Kernels kMemoryLookupF32_##suffix;
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32

// Null where this machine has not the features.
const F32Kernels* f32_kernels(Isa isa);

}  // namespace spartan
