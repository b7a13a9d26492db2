// The loops of the fp32 memory lookup that each instruction set brings. Internal to the library and its tests.
//
// Strides are in elements. No function allocates, and none reads or writes past the counts it is given.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layer_norm/f32_kernels.h"
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
  // For p in [0, positions), h in [0, hidden), with addend (or 0 where it is null) and out [positions, hidden]:
  //   out[p][h] = addend[p][h] + sum over i < count of weights[p * weight_stride + i] * value(i, h)
  // and i's value at offset o = offsets[p * count + i] in elements:
  //   weighted_rows    values[o + h]                                          row-major, o = cell * H
  //   weighted_blocks  values[h / 64 * block_stride + o + h % 64]             packed in blocks of 64 columns, o = cell * 64
  // The last packed block is readable to its end. addend may be out.
  void (*weighted_rows)(const float* values, const std::size_t* offsets, const float* weights,
                        std::size_t weight_stride, std::size_t count, const float* addend, std::size_t positions,
                        std::size_t hidden, float* out);
  void (*weighted_blocks)(const float* values, std::size_t block_stride, const std::size_t* offsets,
                          const float* weights, std::size_t weight_stride, std::size_t count, const float* addend,
                          std::size_t positions, std::size_t hidden, float* out);
  // v[i] = exp(v[i]) for v[i] <= 0 or NaN, to 2 ulp; below -87 the result is at most 2e-38, not exactly 0.
  void (*exp_nonpositive)(float* v, std::size_t count);
  AddLayerNormF32 add_layer_norm;  // the other family's, here of the memory's result in place
  // See select.inl.
  void (*select_largest)(const float* logits, std::size_t count, std::size_t top_k, std::uint32_t* chosen,
                         std::int32_t* order);
  void (*shift_logits)(float* logits, float* child, std::size_t parents, std::size_t children);
  void (*weights_of_chosen)(const float* exponentials, const float* child, std::size_t parents, std::size_t children,
                            const std::uint32_t* chosen, std::size_t top_k, float* weights, float* sums);
};

#define SPARTAN_F32(isa, suffix) extern const F32Kernels kMemoryLookupF32_##suffix;
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32

// Null where this machine has not the features.
const F32Kernels* f32_kernels(Isa isa);

}  // namespace spartan
