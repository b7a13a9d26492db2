#include <arm_neon.h>

#include "attention/f32_kernels.h"

namespace spartan {
namespace {

struct V {
  using Reg = float32x4_t;
  static constexpr std::size_t kLanes = 4;
  static Reg zero() { return vdupq_n_f32(0); }
  static Reg set1(float v) { return vdupq_n_f32(v); }
  static Reg load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, Reg r) { vst1q_f32(p, r); }
  static Reg add(Reg a, Reg b) { return vaddq_f32(a, b); }
  static Reg sub(Reg a, Reg b) { return vsubq_f32(a, b); }
  static Reg mul(Reg a, Reg b) { return vmulq_f32(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
  static Reg max(Reg a, Reg b) { return vmaxq_f32(a, b); }  // NaN where either is
  static Reg round(Reg a) { return vrndnq_f32(a); }
  // n >= -126: the exponent field stays normal. A NaN in n gives a power of two; NaN stays NaN in `a`.
  static Reg scale2(Reg a, Reg n) {
    const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
  }
  static float sum(Reg r) { return vaddvq_f32(r); }
};

// 24 sums, 4 columns and a factor of the 32 registers.
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kTileRegisters = 4;

#include "attention/f32_vector.inl"

}  // namespace

const AttentionKernels kAttentionF32_neon = {product, exponentials};

}  // namespace spartan
