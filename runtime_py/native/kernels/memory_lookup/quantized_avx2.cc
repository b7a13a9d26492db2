#include "memory_lookup/quantized_kernels.h"
#include "simd/avx2_bytes.h"

namespace spartan {
namespace {

using V = Avx2;

// vpmaddubsw multiplies unsigned by signed bytes and adds pairs in int16, where 255 * 127 * 2 would saturate. So cells
// are taken by magnitude, up to 128 as an unsigned byte, and their sign goes to the other factor, which has no -128
// whose negative does not exist: a pair is at most 128 * 127 * 2 = 32512. Weights and nibbles are small as they are.
struct Q : Avx2Bytes {
  static Cells cells(Bytes b) { return b; }
  static std::int32_t start_of(std::int32_t) { return 0; }
  static Acc start(std::int32_t) { return _mm256_setzero_si256(); }
  static Acc dot(Acc a, Cells c, Bytes b) { return dot_small(a, _mm256_abs_epi8(c), _mm256_sign_epi8(b, c)); }
  static Acc dot_small(Acc a, Bytes small, Bytes b) {
    const __m256i pairs = _mm256_maddubs_epi16(small, b);
    return _mm256_add_epi32(a, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static Acc weigh(Acc a, Bytes values, Bytes weights) { return dot_small(a, weights, values); }
};
using R = Q;

// 8 sums, 2 keys, their magnitudes, a broadcast and two for the product of the 16 registers.
constexpr std::size_t kKeyBlocks = 1;
template <std::size_t Blocks>
constexpr std::size_t kKeyPositions = 4;
constexpr std::size_t kNibblePositions = 2;
constexpr std::size_t kDotPositions = 4;
constexpr std::size_t kWeightRegs = 8;

#include "memory_lookup/quantize.inl"
#include "memory_lookup/quantized_vector.inl"

}  // namespace

const QuantizedKernels kMemoryLookupQuantized_avx2 = {
    quantize_rows,         key_logits_int8,       key_logits_int4, key_dots_int8, key_dots_int4,
    quantize_weights_int8, quantize_weights_int4, weighted_int8,   weighted_int4,
    nullptr};

}  // namespace spartan
