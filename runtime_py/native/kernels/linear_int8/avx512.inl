// What the AVX-512 kernels of the int8 linear share: rows to 8 bits, and sums to results.
#include <immintrin.h>

#include "linear_int8/gelu_table.h"
#include "linear_int8/kernels.h"

namespace spartan {
namespace {

inline __mmask16 first(std::size_t count) { return static_cast<__mmask16>((1u << count) - 1); }  // count < 16

inline RowRange range(const float* row, std::size_t inputs) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512 lowest = _mm512_setzero_ps(), highest = _mm512_setzero_ps();
  __m512i largest = _mm512_setzero_si512();  // of the magnitudes, as integers: infinities and NaNs are above all others
  const auto take = [&](__m512 v) {
    lowest = _mm512_min_ps(lowest, v);
    highest = _mm512_max_ps(highest, v);
    largest = _mm512_max_epu32(largest, _mm512_and_si512(_mm512_castps_si512(v), magnitude));
  };
  std::size_t k = 0;
  for (; k + 16 <= inputs; k += 16) take(_mm512_loadu_ps(row + k));
  if (k < inputs) take(_mm512_maskz_loadu_ps(first(inputs - k), row + k));
  return {_mm512_reduce_min_ps(lowest), _mm512_reduce_max_ps(highest), _mm512_reduce_max_epu32(largest) < 0x7f800000u};
}

inline void quantize(const float* row, std::size_t inputs, float inverse_step, std::int32_t zero, std::uint8_t* q) {
  const __m512 inverse = _mm512_set1_ps(inverse_step);
  const __m512i zeros = _mm512_set1_epi32(zero);
  const auto bytes = [&](__m512 v) {
    const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(v, inverse)), zeros);
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512()));
  };
  const std::size_t padded = (inputs + kTileInputs - 1) / kTileInputs * kTileInputs;
  for (std::size_t k = 0; k < padded; k += 16) {
    __m128i values = _mm_setzero_si128();
    if (k + 16 <= inputs) {
      values = bytes(_mm512_loadu_ps(row + k));
    } else if (k < inputs) {
      const __mmask16 mask = first(inputs - k);
      values = _mm_maskz_mov_epi8(mask, bytes(_mm512_maskz_loadu_ps(mask, row + k)));
    }
    _mm_store_si128(reinterpret_cast<__m128i*>(q + k / kTileInputs * kTileBytes + k % kTileInputs), values);
  }
}

inline __m512 gelu(__m512 x) {
  // The operands' order keeps NaN: min and max return the second where there is one.
  const __m512 a = _mm512_min_ps(_mm512_set1_ps(kGeluLimit), _mm512_abs_ps(x));
  const __m512 scaled = _mm512_mul_ps(a, _mm512_set1_ps(kGeluPerUnit));
  const __m512i interval = _mm512_cvttps_epi32(scaled);
  const __m512 t = _mm512_sub_ps(_mm512_sub_ps(scaled, _mm512_cvtepi32_ps(interval)), _mm512_set1_ps(0.5f));
  const auto coefficient = [&](int power) {
    return _mm512_permutexvar_ps(interval, _mm512_load_ps(kGeluTail[power]));  // which reads the low four bits
  };
  __m512 tail = coefficient(kGeluDegree);
#pragma GCC unroll 8
  for (int power = kGeluDegree - 1; power >= 0; --power) tail = _mm512_fmadd_ps(tail, t, coefficient(power));
  return _mm512_fnmadd_ps(a, tail, _mm512_max_ps(_mm512_setzero_ps(), x));
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

  template <bool kGelu>
  void store(std::size_t row, __m512i dots) const {
    const __m512i zero = _mm512_set1_epi32(job_.row_zeros[row]);
    const __m512i sums = _mm512_sub_epi32(dots, _mm512_mullo_epi32(zero, sums_));
    const __m512 scales = _mm512_mul_ps(_mm512_set1_ps(job_.row_steps[row]), scales_);
    const __m512 y = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales), bias_);
    _mm512_mask_storeu_ps(job_.out + row * job_.outputs + first_, mask_, kGelu ? gelu(y) : y);
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
