// The int8 linear by AVX-VNNI: dot products of four bytes in registers of 256 bits.
#include <immintrin.h>

namespace spartan {
namespace {

inline __m256i dot(__m256i sums, __m256i inputs, __m256i weights) {
  return _mm256_dpbusd_avx_epi32(sums, inputs, weights);
}

}  // namespace
}  // namespace spartan

#include "linear_int8/avx2.inl"

namespace spartan {

const LinearKernels kLinearInt8_avxvnni = {range, quantize, multiply};

}  // namespace spartan
