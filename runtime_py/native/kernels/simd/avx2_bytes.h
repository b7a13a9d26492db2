// What the integer kernels with and without dot products share on 256 bits; each adds its own product of bytes.
#pragma once

#include "simd/avx2.h"

namespace spartan {
namespace {

struct Avx2Bytes {
  using Float = Avx2;
  using Acc = __m256i;
  using Bytes = __m256i;
  using Cells = __m256i;
  static constexpr std::size_t kLanes = 8;
  static constexpr bool kPairs = false;
  static Bytes load(const std::int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Bytes quad(const std::int8_t* p) {
    std::int32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return _mm256_set1_epi32(bytes);
  }
  static Acc all(std::int32_t i) { return _mm256_set1_epi32(i); }
  static Acc first(std::int32_t i) { return _mm256_zextsi128_si256(_mm_cvtsi32_si128(i)); }
  static Bytes low(Bytes b) { return _mm256_and_si256(b, _mm256_set1_epi8(15)); }
  static Bytes high(Bytes b) { return low(_mm256_srli_epi16(b, 4)); }
  static Avx2::Reg to_float(Acc a) { return _mm256_cvtepi32_ps(a); }
  static std::int32_t sum(Acc a) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
  }
};

}  // namespace
}  // namespace spartan
