#include <immintrin.h>

#include "attention/f32_kernels.h"

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
  static Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }  // b where either is NaN
  static Reg round(Reg a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Reg scale2(Reg a, Reg n) { return _mm512_scalef_ps(a, n); }
  static float sum(Reg r) { return _mm512_reduce_add_ps(r); }
};

// 24 sums, 4 columns and a factor of the 32 registers.
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kTileRegisters = 4;

#include "attention/f32_vector.inl"

}  // namespace

const AttentionKernels kAttentionF32_avx512 = {product, exponentials};

}  // namespace spartan
