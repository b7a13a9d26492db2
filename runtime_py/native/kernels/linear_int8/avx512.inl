// What the AVX-512 kernels of the int8 linear share: rows to 8 bits, and sums to results.
#include <immintrin.h>

#include "linear_int8/gelu_table.h"
#include "linear_int8/kernels.h"

namespace spartan {
namespace {

inline __mmask16 first(std::size_t count) { return static_cast<__mmask16>((1u << count) - 1); }  // count < 16

inline RowRange range(const float* row, std::size_t inputs) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  // Two of each, so that neither waits for the other.
  __m512 lowest[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, highest[2] = {lowest[0], lowest[0]};
  __m512i largest[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};  // magnitudes as integers: NaN is above all
  const auto take = [&](int i, __m512 v) {
    lowest[i] = _mm512_min_ps(lowest[i], v);
    highest[i] = _mm512_max_ps(highest[i], v);
    largest[i] = _mm512_max_epu32(largest[i], _mm512_and_si512(_mm512_castps_si512(v), magnitude));
  };
  std::size_t k = 0;
  for (; k + 32 <= inputs; k += 32) {
    take(0, _mm512_loadu_ps(row + k));
    take(1, _mm512_loadu_ps(row + k + 16));
  }
  if (k + 16 <= inputs) {
    take(0, _mm512_loadu_ps(row + k));
    k += 16;
  }
  if (k < inputs) take(1, _mm512_maskz_loadu_ps(first(inputs - k), row + k));
  return {_mm512_reduce_min_ps(_mm512_min_ps(lowest[0], lowest[1])),
          _mm512_reduce_max_ps(_mm512_max_ps(highest[0], highest[1])),
          _mm512_reduce_max_epu32(_mm512_max_epu32(largest[0], largest[1])) < 0x7f800000u};
}

inline void quantize(const float* row, std::size_t inputs, float inverse_step, std::int32_t zero, std::uint8_t* q) {
  const __m512 inverse = _mm512_set1_ps(inverse_step);
  const __m512i zeros = _mm512_set1_epi16(static_cast<short>(zero));
  const auto whole = [&](__m512 v) { return _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse)); };
  // Packing works within 128 bits, so what it makes is put in order at the end; it saturates, as asked.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto bytes = [&](__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zeros);
    const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zeros);
    return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
  };
  std::size_t k = 0;
  for (; k + kTileInputs <= inputs; k += kTileInputs, q += kTileBytes) {
    const float* at = row + k;
    _mm512_store_si512(q, bytes(whole(_mm512_loadu_ps(at)), whole(_mm512_loadu_ps(at + 16)),
                                whole(_mm512_loadu_ps(at + 32)), whole(_mm512_loadu_ps(at + 48))));
  }
  if (k == inputs) return;
  const std::size_t left = inputs - k;
  __m512i last[4];
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t begin = i * 16;
    const __mmask16 mask = left >= begin + 16 ? 0xffff : left > begin ? first(left - begin) : 0;
    last[i] = whole(_mm512_maskz_loadu_ps(mask, row + k + (mask == 0 ? 0 : begin)));
  }
  const __mmask64 inside = (__mmask64{1} << left) - 1;
  _mm512_store_si512(q, _mm512_maskz_mov_epi8(inside, bytes(last[0], last[1], last[2], last[3])));
}

// GELU of several vectors: one alone would wait for its chain of some 80 cycles.
template <std::size_t kCount>
inline void gelu(__m512* x) {
  __m512 a[kCount], t[kCount], tail[kCount];
  __m512i interval[kCount];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kCount; ++i) {
    // The operands' order keeps NaN: min and max return the second where there is one.
    a[i] = _mm512_min_ps(_mm512_set1_ps(kGeluLimit), _mm512_abs_ps(x[i]));
    t[i] = _mm512_mul_ps(a[i], _mm512_set1_ps(kGeluPerUnit));
    interval[i] = _mm512_cvttps_epi32(t[i]);
    t[i] = _mm512_sub_ps(_mm512_sub_ps(t[i], _mm512_cvtepi32_ps(interval[i])), _mm512_set1_ps(0.5f));
  }
#pragma GCC unroll 8
  for (int power = kGeluDegree; power >= 0; --power) {
    const __m512 table = _mm512_load_ps(kGeluTail[power]);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kCount; ++i) {
      const __m512 coefficient = _mm512_permutexvar_ps(interval[i], table);  // by the low four bits
      tail[i] = power == kGeluDegree ? coefficient : _mm512_fmadd_ps(tail[i], t[i], coefficient);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kCount; ++i) {
    x[i] = _mm512_fnmadd_ps(a[i], tail[i], _mm512_max_ps(_mm512_setzero_ps(), x[i]));
  }
}

// From sums to results for one block of 16 outputs, row after row.
class BlockResults {
 public:
  BlockResults(const LinearJob& job, std::size_t block)
      : job_(job),
        first_(block * kLinearBlockOutputs),
        mask_(static_cast<__mmask16>((1u << block_outputs(job, block)) - 1)),
        scales_(_mm512_maskz_loadu_ps(mask_, job.weights.scales + first_)),
        sums_(_mm512_maskz_loadu_epi32(mask_, job.weights.sums + first_)),
        // Without a bias -0 is added, which changes nothing.
        bias_(job.weights.bias == nullptr ? _mm512_set1_ps(-0.0f)
                                          : _mm512_maskz_loadu_ps(mask_, job.weights.bias + first_)) {}

  // Of rows [row, row + kRows), whose sums lie at dots[0], dots[stride], ...
  template <bool kGelu, std::size_t kRows>
  void store(std::size_t row, const __m512i* dots, std::size_t stride) const {
    __m512 y[kRows];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512i zero = _mm512_set1_epi32(job_.row_zeros[row + r]);
      const __m512i sums = _mm512_sub_epi32(dots[r * stride], _mm512_mullo_epi32(zero, sums_));
      const __m512 scales = _mm512_mul_ps(_mm512_set1_ps(job_.row_steps[row + r]), scales_);
      y[r] = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales), bias_);
    }
    if constexpr (kGelu) gelu<kRows>(y);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      _mm512_mask_storeu_ps(job_.out + (row + r) * job_.outputs + first_, mask_, y[r]);
    }
  }

 private:
  const LinearJob& job_;
  std::size_t first_;
  __mmask16 mask_;
  __m512 scales_;
  __m512i sums_;
  __m512 bias_;
};

}  // namespace
}  // namespace spartan
