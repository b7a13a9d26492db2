// For processors with sdot, from Cortex-A55 and A75 on.
#include "memory_lookup/quantized_kernels.h"
#include "simd/neon_bytes.h"

namespace spartan {
namespace {
namespace dotprod {  // in every symbol's name, so that a disassembly can tell what is chosen at run time

using V = Neon;

struct Q : NeonBytes {
  using Acc = int32x4_t;
  static constexpr bool kPairs = false;
  static Acc start(std::int32_t) { return vdupq_n_s32(0); }
  static Acc dot(Acc a, Cells c, Bytes b) { return vdotq_s32(a, c, b); }
  static Acc dot_small(Acc a, Bytes small, Bytes b) { return vdotq_s32(a, small, b); }
  static Acc weigh(Acc a, Bytes values, Bytes weights) { return vdotq_s32(a, values, weights); }
  static Acc all(std::int32_t i) { return vdupq_n_s32(i); }
  static Acc first(std::int32_t i) { return vsetq_lane_s32(i, vdupq_n_s32(0), 0); }
  static V::Reg to_float(Acc a) { return vcvtq_f32_s32(a); }
  static std::int32_t sum(Acc a) { return vaddvq_s32(a); }
};
using R = Q;

// 20 sums, 4 keys and a broadcast of the 32 registers.
constexpr std::size_t kKeyBlocks = 1;
template <std::size_t Blocks>
constexpr std::size_t kKeyPositions = 5;
constexpr std::size_t kNibblePositions = 2;
constexpr std::size_t kDotPositions = 6;
constexpr std::size_t kWeightRegs = 16;

#include "memory_lookup/quantize.inl"
#include "memory_lookup/quantized_vector.inl"

}  // namespace dotprod
}  // namespace

const QuantizedKernels kMemoryLookupQuantized_neondot = {
    dotprod::quantize_rows,         dotprod::key_logits_int8,       dotprod::key_logits_int4,
    dotprod::key_dots_int8,         dotprod::key_dots_int4,         dotprod::quantize_weights_int8,
    dotprod::quantize_weights_int4, dotprod::weighted_int8,         dotprod::weighted_int4,
    nullptr};

}  // namespace spartan
