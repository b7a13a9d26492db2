#include "memory_lookup/f32_kernels.h"
#include "simd/avx512.h"

namespace spartan {
namespace {

using V = Avx512;

// 24 sums, 4 weights and a broadcast fill the 32 registers.
constexpr std::size_t kLogitBlocks = 4;
template <std::size_t Blocks>
constexpr std::size_t kLogitPositions = Blocks == 4 ? 6 : Blocks == 3 ? 8 : 12;
constexpr std::size_t kDotRows = 4;
constexpr std::size_t kSumBlocks = 2;

#include "memory_lookup/f32_vector.inl"
#include "memory_lookup/select.inl"

// select_largest of at most 16 logits, all ranks in one register. See make_order and rank_all.
void select_of_one_register(const float* logits, std::size_t count, std::size_t top_k, std::uint32_t* chosen,
                            std::int32_t* order) {
  if (count > V::kLanes || top_k == count) {
    select_largest(logits, count, top_k, chosen, order);
    return;
  }
  const auto lanes = static_cast<__mmask16>((1u << count) - 1);
  const __m512 value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, logits), _mm512_setzero_ps());  // -0 becomes +0
  const __m512i bits = _mm512_castps_si512(value), largest = _mm512_set1_epi32(0x7fffffff);
  __m512i own = _mm512_xor_si512(bits, _mm512_and_si512(_mm512_srai_epi32(bits, 31), largest));
  own = _mm512_mask_mov_epi32(own, _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q), largest);
  own = _mm512_mask_mov_epi32(_mm512_set1_epi32(-0x7fffffff), lanes, own);  // padding comes behind everything
  _mm512_storeu_si512(order, own);
  const __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i one = _mm512_set1_epi32(1);
  __m512i rank = _mm512_setzero_si512();
SPARTAN_UNROLL
  for (std::int32_t j = 0; j < 16; ++j) {
    // `other >= own` for those behind j, who lose ties to it; `other > own` for the rest.
    const __m512i threshold = _mm512_mask_sub_epi32(own, static_cast<__mmask16>(0xfffeu << j), own, one);
    rank = _mm512_mask_add_epi32(rank, _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(order[j]), threshold), rank, one);
  }
  const __mmask16 first = _mm512_cmplt_epi32_mask(rank, _mm512_set1_epi32(static_cast<std::int32_t>(top_k)));
  _mm512_mask_storeu_epi32(chosen, static_cast<__mmask16>((1u << top_k) - 1), _mm512_maskz_compress_epi32(first, index));
}

}  // namespace

const F32Kernels kMemoryLookupF32_avx512 = {
    logits,          dots,
    weighted_rows,   weighted_blocks,
    exp_nonpositive, add_layer_norm_f32_avx512,
    select_of_one_register, shift_logits,
    weights_of_chosen};

}  // namespace spartan
