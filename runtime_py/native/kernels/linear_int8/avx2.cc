// The int8 linear by AVX2, which multiplies bytes only with sums that saturate: so by words, even and odd ones apart.
#include <immintrin.h>

namespace spartan {
namespace {

inline __m256i dot(__m256i sums, __m256i inputs, __m256i weights) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(inputs, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(inputs, 8), _mm256_srai_epi16(weights, 8));
  return _mm256_add_epi32(sums, _mm256_add_epi32(even, odd));
}

}  // namespace
}  // namespace spartan

#include "linear_int8/avx2.inl"

namespace spartan {

const LinearKernels kLinearInt8_avx2 = {range, quantize, multiply};

}  // namespace spartan
