// Vectors of floats with AVX-512, as f32_vector.inl asks for them. In an anonymous namespace: each source file that
// includes this is compiled for that instruction set, and none of it may be linked into another's path.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace spartan {
namespace {

struct Avx512 {
  using Reg = __m512;
  static constexpr std::size_t kLanes = 16;
  static __mmask16 mask(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1); }  // n < 16
  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg set1(float v) { return _mm512_set1_ps(v); }
  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static Reg load_part(const float* p, std::size_t n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static void store(float* p, Reg r) { _mm512_storeu_ps(p, r); }
  static void store_part(float* p, Reg r, std::size_t n) { _mm512_mask_storeu_ps(p, mask(n), r); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }  // b where either is NaN
  static Reg round(Reg a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Reg scale2(Reg a, Reg n) { return _mm512_scalef_ps(a, n); }
  static float sum(Reg r) { return _mm512_reduce_add_ps(r); }
};

}  // namespace
}  // namespace spartan
