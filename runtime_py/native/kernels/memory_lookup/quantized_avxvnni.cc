#include "memory_lookup/quantized_kernels.h"
#include "simd/avx2_bytes.h"

namespace spartan {
namespace {

using V = Avx2;

// As with AVX-512, in 256 bits and the encoding of processors without AVX-512.
struct Q : Avx2Bytes {
  static Cells cells(Bytes b) { return _mm256_xor_si256(b, _mm256_set1_epi8(-128)); }
  static std::int32_t start_of(std::int32_t sum) { return -128 * sum; }
  static Acc start(std::int32_t sum) { return all(start_of(sum)); }
  static Acc dot(Acc a, Cells c, Bytes b) { return _mm256_dpbusd_avx_epi32(a, c, b); }
  static Acc dot_small(Acc a, Bytes small, Bytes b) { return _mm256_dpbusd_avx_epi32(a, small, b); }
  static Acc weigh(Acc a, Bytes values, Bytes weights) { return _mm256_dpbusd_avx_epi32(a, weights, values); }
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
    quantize_weights_int8, quantize_weights_int4, weighted_int8,   weighted_int4,
    nullptr};

}  // namespace spartan
