#include <arm_neon.h>

#include "layer_norm/f32_kernels.h"

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
  static float sum(Reg r) { return vaddvq_f32(r); }
};

#include "layer_norm/f32_vector.inl"

}  // namespace

void add_layer_norm_f32_neon(const float* x, const float* residual, std::size_t rows, std::size_t hidden,
                             const float* weight, const float* bias, float eps, float* out) {
  all_rows(x, residual, rows, hidden, weight, bias, eps, out);
}

}  // namespace spartan
