#include "memory_lookup/quantized_kernels.h"
#include "simd/avx2.h"

namespace spartan {
namespace {

using V = Avx2;

// As with AVX-512, in 256 bits and the encoding of processors without AVX-512.
struct Q {
  using Float = V;
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
  static Cells cells(Bytes b) { return _mm256_xor_si256(b, _mm256_set1_epi8(-128)); }
  static std::int32_t start_of(std::int32_t sum) { return -128 * sum; }
  static Acc start(std::int32_t sum) { return all(start_of(sum)); }
  static Acc dot(Acc a, Cells c, Bytes b) { return _mm256_dpbusd_avx_epi32(a, c, b); }
  static Acc dot_small(Acc a, Bytes small, Bytes b) { return _mm256_dpbusd_avx_epi32(a, small, b); }
  static Acc weigh(Acc a, Bytes values, Bytes weights) { return _mm256_dpbusd_avx_epi32(a, weights, values); }
  static Acc all(std::int32_t i) { return _mm256_set1_epi32(i); }
  static Acc first(std::int32_t i) { return _mm256_zextsi128_si256(_mm_cvtsi32_si128(i)); }
  static Bytes low(Bytes b) { return _mm256_and_si256(b, _mm256_set1_epi8(15)); }
  static Bytes high(Bytes b) { return low(_mm256_srli_epi16(b, 4)); }
  static V::Reg to_float(Acc a) { return _mm256_cvtepi32_ps(a); }
  static std::int32_t sum(Acc a) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
  }
};
using R = Q;

// 12 sums, 2 keys and a broadcast of the 16 registers.
constexpr std::size_t kKeyBlocks = 1;
template <std::size_t Blocks>
constexpr std::size_t kKeyPositions = 6;
constexpr std::size_t kNibblePositions = 2;
constexpr std::size_t kDotPositions = 6;
constexpr std::size_t kWeightRegs = 8;

#include "memory_lookup/quantize.inl"
#include "memory_lookup/quantized_vector.inl"

}  // namespace

const QuantizedKernels kMemoryLookupQuantized_avxvnni = {
    quantize_rows,         key_logits_int8,       key_logits_int4, key_dots_int8, key_dots_int4,
    quantize_weights_int8, quantize_weights_int4, weighted_int8,   weighted_int4};

}  // namespace spartan
