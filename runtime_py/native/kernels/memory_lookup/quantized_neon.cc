// For processors without dot products, Cortex-A53 and A72 among them.
#include "memory_lookup/quantized_kernels.h"
#include "simd/neon_bytes.h"

namespace spartan {
namespace {

using V = Neon;

// Products of bytes in int16, added in pairs to int32: a lane's sum of four stands in two neighbours until the end.
struct Q : NeonBytes {
  struct Acc {
    int32x4_t left, right;  // lanes 0 and 1; 2 and 3
  };
  static constexpr bool kPairs = true;
  // Two products of bytes are at most 2 * 128 * 127 = 32512 and fit int16.
  static Acc dot2(Acc a, Cells c0, Bytes b0, Cells c1, Bytes b1) {
    const int16x8_t left = vmlal_s8(vmull_s8(vget_low_s8(c0), vget_low_s8(b0)), vget_low_s8(c1), vget_low_s8(b1));
    const int16x8_t right = vmlal_high_s8(vmull_high_s8(c0, b0), c1, b1);
    return {vpadalq_s16(a.left, left), vpadalq_s16(a.right, right)};
  }
  static Acc start(std::int32_t) { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  static Acc dot(Acc a, Cells c, Bytes b) {
    return {vpadalq_s16(a.left, vmull_s8(vget_low_s8(c), vget_low_s8(b))),
            vpadalq_s16(a.right, vmull_high_s8(c, b))};
  }
  static Acc dot_small(Acc a, Bytes small, Bytes b) { return dot(a, small, b); }
  static Acc weigh(Acc a, Bytes values, Bytes weights) { return dot(a, values, weights); }
  static Acc all(std::int32_t i) {
    const int32x4_t of_lanes = vreinterpretq_s32_s64(vdupq_n_s64(static_cast<std::int64_t>(static_cast<std::uint32_t>(i))));
    return {of_lanes, of_lanes};
  }
  static Acc first(std::int32_t i) { return {vsetq_lane_s32(i, vdupq_n_s32(0), 0), vdupq_n_s32(0)}; }
  static V::Reg to_float(Acc a) { return vcvtq_f32_s32(vpaddq_s32(a.left, a.right)); }
  static std::int32_t sum(Acc a) { return vaddvq_s32(vaddq_s32(a.left, a.right)); }
};
using R = Q;

// 16 half sums, 4 keys, a broadcast and the products of the 32 registers.
constexpr std::size_t kKeyBlocks = 1;
template <std::size_t Blocks>
constexpr std::size_t kKeyPositions = 2;
constexpr std::size_t kNibblePositions = 1;
constexpr std::size_t kDotPositions = 4;
constexpr std::size_t kWeightRegs = 8;

#include "memory_lookup/quantize.inl"
#include "memory_lookup/quantized_vector.inl"

}  // namespace

const QuantizedKernels kMemoryLookupQuantized_neon = {
    quantize_rows,         key_logits_int8,       key_logits_int4, key_dots_int8, key_dots_int4,
    quantize_weights_int8, quantize_weights_int4, weighted_int8,   weighted_int4,
    nullptr};

}  // namespace spartan
