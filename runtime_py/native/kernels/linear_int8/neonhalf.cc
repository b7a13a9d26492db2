// The int8 linear on Arm processors that also compute in half precision (from Cortex-A55 and A75 on): its GELU does.
#include "linear_int8/neondot.inl"

namespace spartan {
namespace {
namespace fp16 {  // in every symbol's name, so that a disassembly can tell what is chosen at run time

// gelu(x) = max(x, 0) - c(a), c(a) = a * tail(a), a = |x|; c is at most 0.17 and alone in half precision.
//
// tail(a) = erfc(a / sqrt 2) / 2 = w^3 * q(u), w = 1 - a / 4.5, u = 2 w - 1: zero from 4.5 on, where a * tail(a) is
// 1.5e-5, and q of degree 6, fitted for the least error of c (3.6e-5). With the roundings of a dozen steps the result
// is off by 6.2e-4 * min(1, 2 |x|) at most, by 1.4e-4 as a rule: a step of 8 bits is 1.2e-2 where results go up to 3.
// A NaN stays.
struct HalfGelu {
  static constexpr std::size_t kRows = 2;  // steps of one vector wait for each other, so that four go together

  template <std::size_t kCount>
  static void apply(float32x4_t (&x)[kCount]) {
    constexpr std::size_t kHalves = kCount / 2;
    constexpr float kLimit = 4.5f;
    constexpr float kTail[] = {0.09777832f,  0.27685547f,  0.32348633f, 0.08178711f,
                               -0.23999023f, -0.17797852f, 0.13806152f};  // exact in half precision
    float16x8_t a[kHalves], w[kHalves], u[kHalves], q[kHalves];
    const auto each = [](auto step) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kHalves; ++i) step(i);
    };
    each([&](std::size_t i) { a[i] = vcvt_high_f16_f32(vcvt_f16_f32(x[2 * i]), x[2 * i + 1]); });
    each([&](std::size_t i) { a[i] = vminq_f16(vabsq_f16(a[i]), vdupq_n_f16(kLimit)); });
    each([&](std::size_t i) { u[i] = vfmaq_f16(vdupq_n_f16(1), a[i], vdupq_n_f16(-2 / kLimit)); });
    each([&](std::size_t i) { w[i] = vfmaq_f16(vdupq_n_f16(1), a[i], vdupq_n_f16(-1 / kLimit)); });
    each([&](std::size_t i) { q[i] = vfmaq_f16(vdupq_n_f16(kTail[5]), u[i], vdupq_n_f16(kTail[6])); });
    each([&](std::size_t i) { a[i] = vmulq_f16(a[i], w[i]); });
    each([&](std::size_t i) { w[i] = vmulq_f16(w[i], w[i]); });
#pragma GCC unroll 5
    for (int power = 4; power >= 0; --power) {
      each([&](std::size_t i) { q[i] = vfmaq_f16(vdupq_n_f16(kTail[power]), q[i], u[i]); });
    }
    each([&](std::size_t i) { q[i] = vmulq_f16(q[i], w[i]); });
    each([&](std::size_t i) { q[i] = vmulq_f16(q[i], a[i]); });
    each([&](std::size_t i) {
      x[2 * i] = vsubq_f32(vmaxq_f32(x[2 * i], vdupq_n_f32(0)), vcvt_f32_f16(vget_low_f16(q[i])));
      x[2 * i + 1] = vsubq_f32(vmaxq_f32(x[2 * i + 1], vdupq_n_f32(0)), vcvt_high_f32_f16(q[i]));
    });
  }
};

}  // namespace fp16
}  // namespace

const LinearKernels kLinearInt8_neonhalf = {range, quantize, multiply_units<dotprod::Strip<fp16::HalfGelu>>, kByteOfZero};

}  // namespace spartan
