// The integer loops with AVX-512 and its dot products, which processors with tile registers use beside those: each .cc
// that includes this is compiled for its own instruction set.
#include "memory_lookup/quantized_kernels.h"
#include "simd/avx2.h"
#include "simd/avx512.h"

namespace spartan {
namespace {

using V = Avx512;

// vpdpbusd takes unsigned by signed: signed cells get 128 added (their sign bit flipped), and sums begin with what takes
// it off again.
struct Q {
  using Acc = __m512i;
  using Bytes = __m512i;
  using Cells = __m512i;
  static constexpr std::size_t kLanes = 16;
  static constexpr bool kPairs = false;
  static Bytes load(const std::int8_t* p) { return _mm512_loadu_si512(p); }
  static Bytes quad(const std::int8_t* p) {
    std::int32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return _mm512_set1_epi32(bytes);
  }
  static Cells cells(Bytes b) { return _mm512_xor_si512(b, _mm512_set1_epi8(-128)); }
  static std::int32_t start_of(std::int32_t sum) { return -128 * sum; }
  static Acc start(std::int32_t sum) { return all(start_of(sum)); }
  static Acc dot(Acc a, Cells c, Bytes b) { return dot_small(a, c, b); }
  // Not the intrinsic: with it GCC 12 copies every sum to another register and back, and runs out of them.
  static Acc dot_small(Acc a, Bytes small, Bytes b) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(a) : "v"(small), "vm"(b));
    return a;
  }
  static Acc weigh(Acc a, Bytes values, Bytes weights) { return dot_small(a, weights, values); }
  static Acc all(std::int32_t i) { return _mm512_set1_epi32(i); }
  static Bytes low(Bytes b) { return _mm512_and_si512(b, _mm512_set1_epi8(15)); }
  static Bytes high(Bytes b) { return low(_mm512_srli_epi16(b, 4)); }
  static V::Reg to_float(Acc a) { return _mm512_cvtepi32_ps(a); }
  static std::int32_t sum(Acc a) { return _mm512_reduce_add_epi32(a); }
};

// One group of int4 is 32 bytes.
struct R {
  using Float = Avx2;
  using Acc = __m256i;
  using Bytes = __m256i;
  static constexpr std::size_t kLanes = 8;
  static Bytes load(const std::int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Acc dot_small(Acc a, Bytes small, Bytes b) { return _mm256_dpbusd_epi32(a, small, b); }
  static Acc first(std::int32_t i) { return _mm256_zextsi128_si256(_mm_cvtsi32_si128(i)); }
  static Bytes low(Bytes b) { return _mm256_and_si256(b, _mm256_set1_epi8(15)); }
  static Bytes high(Bytes b) { return low(_mm256_srli_epi16(b, 4)); }
  static Float::Reg to_float(Acc a) { return _mm256_cvtepi32_ps(a); }
};

// 24 sums, 3 keys and a broadcast of the 32 registers.
constexpr std::size_t kKeyBlocks = 3;
template <std::size_t Blocks>
constexpr std::size_t kKeyPositions = Blocks == 3 ? 8 : 12;
constexpr std::size_t kNibblePositions = 8;
constexpr std::size_t kDotPositions = 8;
constexpr std::size_t kWeightRegs = 8;

#include "memory_lookup/quantize.inl"
#include "memory_lookup/quantized_vector.inl"

// quantize_rows in whole registers, for rows with one scale that fill them.
void quantize_whole_rows(const float* x, std::size_t positions, std::size_t hidden, std::size_t group,
                         std::int8_t* cells, std::size_t stride, float* scales, std::int32_t* sums) {
  if (group != hidden || hidden % kBytes != 0) {
    quantize_rows(x, positions, hidden, group, cells, stride, scales, sums);
    return;
  }
  const __m512i magnitudes = _mm512_set1_epi32(0x7fffffff), ones = _mm512_set1_epi8(1);
  // Packing works within 128 bits, so what it makes is put in order at the end.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (std::size_t p = 0; p < positions; ++p, x += hidden, cells += stride) {
    __m512i largest[4] = {};
    for (std::size_t h = 0; h < hidden; h += kBytes) {
SPARTAN_UNROLL
      for (std::size_t i = 0; i < 4; ++i) {
        const __m512i bits = _mm512_loadu_si512(x + h + i * V::kLanes);
        largest[i] = _mm512_max_epi32(largest[i], _mm512_and_si512(bits, magnitudes));
      }
    }
    const __m512i all = _mm512_max_epi32(_mm512_max_epi32(largest[0], largest[1]),
                                         _mm512_max_epi32(largest[2], largest[3]));
    float inverse;
    if (!find_scale(_mm512_reduce_max_epi32(all), scales + p, &inverse)) {
      __builtin_memset(cells, 0, stride);
      sums[p] = 0;
      continue;
    }
    const __m512 factor = _mm512_set1_ps(inverse);
    const auto whole = [&](std::size_t h) { return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + h), factor)); };
    __m512i sum = _mm512_setzero_si512();
    for (std::size_t h = 0; h < hidden; h += kBytes) {
      const __m512i low = _mm512_packs_epi32(whole(h), whole(h + 16)), high = _mm512_packs_epi32(whole(h + 32), whole(h + 48));
      const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
      _mm512_storeu_si512(cells + h, bytes);
      sum = Q::dot_small(sum, ones, bytes);
    }
    sums[p] = Q::sum(sum);
  }
}

}  // namespace
}  // namespace spartan
