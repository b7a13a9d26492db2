#include <immintrin.h>

#include "layer_norm/f32_kernels.h"

namespace spartan {
namespace {

struct V {
  using Reg = __m512;
  static constexpr std::size_t kLanes = 16;
  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg set1(float v) { return _mm512_set1_ps(v); }
  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm512_storeu_ps(p, r); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static float sum(Reg r) { return _mm512_reduce_add_ps(r); }
};

#include "layer_norm/f32_vector.inl"

}  // namespace

void add_layer_norm_f32_avx512(const float* x, const float* residual, std::size_t rows, std::size_t hidden,
                             const float* weight, const float* bias, float eps, float* out) {
  all_rows(x, residual, rows, hidden, weight, bias, eps, out);
}

}  // namespace spartan
