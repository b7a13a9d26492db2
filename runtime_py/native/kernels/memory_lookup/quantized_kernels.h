// The loops of the int8 and int4 memory lookup that each instruction set brings. Internal to the library and its tests.
//
// A row of x is quantised to q = round(x / s), s = max |x| / 127, so |q| <= 127; weights of cells, which are not
// negative, to 0 .. 127; cells hold -128 .. 127 or, with 4 bits, -8 .. 7. Products are summed in int32: sums of one
// position are the same integers with every instruction set, and because each is then converted and scaled by
// operations that round once and in one order, so are the floats of every function but key_dots_int4, whose sum over
// groups may be taken in another order. Seven bits for weights keep every sum of two products within int16, which the
// instruction sets without dot products need.
//
// G groups of H have a scale of their own: 1 for int8, H / 32 for int4. Layouts of cells: spartan/memory_lookup.h.
// No function allocates, and none reads or writes past the counts it is given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "memory_lookup/plan.h"
#include "spartan/memory_lookup.h"

namespace spartan {

// Quantised rows of x. A row that holds NaN or infinity is all zero with a scale of NaN, so that all that comes of it
// is NaN; one whose largest magnitude is below 2^-100 is all zero with a scale of 0.
struct QuantizedRows {
  const std::int8_t* cells;    // [P, stride], zeros past H
  std::size_t stride;          // a multiple of kRowBytes
  const float* scales;         // [P]
  const std::int32_t* sums;    // [P, G] of the integers
};

// For every position the quads of cells (4q to 4q + 3) that hold a chosen one, and their integer weights.
struct QuantizedWeights {
  const std::uint32_t* quads;   // [P, stride]
  const std::uint32_t* counts;  // [P]
  std::size_t stride;
  const std::int8_t* cells;     // [P, stride, G, 4], 0 .. 127
  const float* scales;          // [P, G]
  const std::int32_t* sums;     // [P, G] of the integers
};

// What all_weights_int8 takes at most.
constexpr std::size_t kAllWeightsParents = 16;
constexpr std::size_t kAllWeightsChildren = 4;

struct QuantizedKernels {
  // group: H, or kInt4Group where sums are wanted by group.
  void (*quantize_rows)(const float* x, std::size_t positions, std::size_t hidden, std::size_t group,
                        std::int8_t* cells, std::size_t stride, float* scales, std::int32_t* sums);
  // Packed keys: out[p * out_stride + n] for the 16 `blocks` columns n, float logits.
  void (*key_logits_int8)(const QuantizedRows& x, std::size_t positions, std::size_t hidden, const std::int8_t* keys,
                          const float* key_scales, std::size_t blocks, float* out, std::size_t out_stride);
  void (*key_logits_int4)(const QuantizedRows& x, std::size_t positions, std::size_t hidden, const std::uint8_t* keys,
                          const float* key_scales, std::size_t blocks, float* out, std::size_t out_stride);
  // Keys as rows: out[i * count + r] for position positions[i] and row r.
  void (*key_dots_int8)(const QuantizedRows& x, const std::uint32_t* positions, std::size_t position_count,
                        std::size_t hidden, const std::int8_t* keys, const float* key_scales, std::size_t count,
                        float* out);
  void (*key_dots_int4)(const QuantizedRows& x, const std::uint32_t* positions, std::size_t position_count,
                        std::size_t hidden, const std::uint8_t* keys, const float* key_scales, std::size_t count,
                        float* out);
  // One position's weights: round(w / s), w = weights[4 i + j] * value_scales[4 quads[i] + j], s = max w / 127. Where w
  // is not finite all are 0 and s is NaN. int8: returns their sum, scratch is 4 count floats.
  std::int32_t (*quantize_weights_int8)(const float* weights, const float* value_scales, const std::uint32_t* quads,
                                        std::size_t count, float* scratch, std::int8_t* cells, float* scale);
  // int4: value_scales [4 Q, G]; cells [count, G, 4]; scales and sums [G]; scratch is 4 count
  // kWeightGroups floats.
  void (*quantize_weights_int4)(const float* weights, const float* value_scales, const std::uint32_t* quads,
                                std::size_t count, std::size_t groups, float* scratch, std::int8_t* cells,
                                float* scales, std::int32_t* sums);
  // out[p][h] = addend[p][h] (or 0) + scale * sum over quads and their cells of weight * value; addend may be out.
  void (*weighted_int8)(const std::int8_t* values, std::size_t value_quads, const QuantizedWeights& weights,
                        const float* addend, std::size_t positions, std::size_t hidden, float* out);
  void (*weighted_int4)(const std::uint8_t* values, std::size_t value_quads, const QuantizedWeights& weights,
                        const float* addend, std::size_t positions, std::size_t hidden, float* out);
  // Null, or: from all logits and the chosen parents in `plan` to its integer weights of all quads, the very ones that
  // both softmaxes (lookup.h) and quantize_weights_int8 make. One position's logits are `stride` after the last one's.
  void (*all_weights_int8)(const Plan& plan, std::size_t positions, std::size_t stride, std::size_t first_child,
                           const float* value_scales);
};

#define SPARTAN_QUANTIZED(isa, f32_isa, suffix) extern const QuantizedKernels kMemoryLookupQuantized_##suffix;
#include "memory_lookup/quantized_kernels.inc"
#undef SPARTAN_QUANTIZED

// Null where this machine has not the features, or the instruction set has no integer kernels of its own.
const QuantizedKernels* quantized_kernels(Isa isa);
// The fp32 loops that go with them: parents, softmaxes, LayerNorm.
Isa f32_isa_beside(Isa isa);

}  // namespace spartan
