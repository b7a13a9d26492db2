// The int8 linear in registers of 256 bits: 4 rows by 16 outputs. `dot` adds, to each of 8 sums, four products of an
// unsigned and a signed byte; the file that includes this defines it.
#include <immintrin.h>

#include "linear_int8/gelu_table.h"
#include "linear_int8/kernels.h"

namespace spartan {
namespace {

constexpr std::size_t kStrip = 4;

inline float lowest_of(__m256 v) {
  __m128 m = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_min_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

inline float highest_of(__m256 v) { return -lowest_of(_mm256_xor_ps(v, _mm256_set1_ps(-0.0f))); }

// `count` numbers at v, zeros behind them.
inline __m256 load(const float* v, std::size_t count) {
  if (count >= 8) return _mm256_loadu_ps(v);
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(v, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes));
}

inline RowRange range(const float* row, std::size_t inputs) {
  const __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7f800000));
  __m256 lowest = _mm256_setzero_ps(), highest = _mm256_setzero_ps(), wrong = _mm256_setzero_ps();
  for (std::size_t k = 0; k < inputs; k += 8) {
    const __m256 v = load(row + k, inputs - k);
    lowest = _mm256_min_ps(lowest, v);
    highest = _mm256_max_ps(highest, v);
    const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
    wrong = _mm256_or_ps(wrong, _mm256_cmp_ps(magnitude, infinity, _CMP_NLT_UQ));
  }
  return {lowest_of(lowest), highest_of(highest), _mm256_movemask_ps(wrong) == 0};
}

inline void quantize(const float* row, std::size_t inputs, float inverse_step, std::int32_t zero, std::uint8_t* q) {
  const __m256 inverse = _mm256_set1_ps(inverse_step);
  const __m256i zeros = _mm256_set1_epi32(zero), lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const std::size_t padded = (inputs + kTileInputs - 1) / kTileInputs * kTileInputs;
  for (std::size_t k = 0; k < padded; k += 8) {
    __m256i whole = _mm256_setzero_si256();
    if (k < inputs) {
      const __m256 v = _mm256_mul_ps(load(row + k, inputs - k), inverse);
      const __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(inputs - k)), lanes);
      whole = _mm256_and_si256(_mm256_add_epi32(_mm256_cvtps_epi32(v), zeros), inside);
    }
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    std::uint8_t* to = q + k / kTileInputs * kTileBytes + k % kTileInputs;
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
}

inline __m256 gelu(__m256 x) {
  // The operands' order keeps NaN: min and max return the second where there is one.
  const __m256 a = _mm256_min_ps(_mm256_set1_ps(kGeluLimit), _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x));
  const __m256 scaled = _mm256_mul_ps(a, _mm256_set1_ps(kGeluPerUnit));
  const __m256i interval = _mm256_cvttps_epi32(scaled);
  const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(interval, 28));  // its sign: interval 8 or above
  const __m256 t = _mm256_sub_ps(_mm256_sub_ps(scaled, _mm256_cvtepi32_ps(interval)), _mm256_set1_ps(0.5f));
  const auto coefficient = [&](int power) {
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(kGeluTail[power]), interval);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(kGeluTail[power] + 8), interval);
    return _mm256_blendv_ps(low, high, upper);
  };
  __m256 tail = coefficient(kGeluDegree);
  for (int power = kGeluDegree - 1; power >= 0; --power) tail = _mm256_fmadd_ps(tail, t, coefficient(power));
  return _mm256_fnmadd_ps(a, tail, _mm256_max_ps(_mm256_setzero_ps(), x));
}

// Eight sums of a row, the first of them output n, become results; `count` of them, at most 8.
inline void store(const LinearJob& job, std::size_t row, std::size_t n, std::size_t count, __m256i dots) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
  const __m256i row_sums = _mm256_maskload_epi32(job.weights.sums + n, inside);
  const __m256i sums = _mm256_sub_epi32(dots, _mm256_mullo_epi32(_mm256_set1_epi32(job.row_zeros[row]), row_sums));
  const __m256 scales =
      _mm256_mul_ps(_mm256_set1_ps(job.row_steps[row]), _mm256_maskload_ps(job.weights.scales + n, inside));
  __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scales);
  if (job.weights.bias != nullptr) y = _mm256_add_ps(y, _mm256_maskload_ps(job.weights.bias + n, inside));
  _mm256_maskstore_ps(job.out + row * job.outputs + n, inside, job.weights.gelu ? gelu(y) : y);
}

template <std::size_t kRows>
void strip(const LinearJob& job, std::size_t row, std::size_t block) {
  const std::size_t bytes = job.input_blocks * kTileBytes;
  const std::uint8_t* x = job.x + row / kTileRows * bytes + row % kTileRows * kTileInputs;
  const std::int8_t* w = job.weights.blocks + block * bytes;
  __m256i dots[kRows][2];
  for (auto& of_row : dots) of_row[0] = of_row[1] = _mm256_setzero_si256();
  for (std::size_t at = 0; at < bytes; at += kTileBytes) {
    for (std::size_t quad = 0; quad < kTileInputs / 4; ++quad) {
      const auto* weights = reinterpret_cast<const __m256i*>(w + at + quad * 64);
      const __m256i left = _mm256_loadu_si256(weights), right = _mm256_loadu_si256(weights + 1);
      for (std::size_t r = 0; r < kRows; ++r) {
        const auto* four = reinterpret_cast<const std::int32_t*>(x + at + r * kTileInputs + quad * 4);
        const __m256i inputs = _mm256_set1_epi32(*four);
        dots[r][0] = dot(dots[r][0], inputs, left);
        dots[r][1] = dot(dots[r][1], inputs, right);
      }
    }
  }
  const std::size_t count = block_outputs(job, block), n = block * kLinearBlockOutputs;
  for (std::size_t r = 0; r < kRows; ++r) {
    store(job, row + r, n, count < 8 ? count : 8, dots[r][0]);
    if (count > 8) store(job, row + r, n + 8, count - 8, dots[r][1]);
  }
}

void multiply(const LinearJob& job) {
  using Strip = void (*)(const LinearJob&, std::size_t, std::size_t);
  static constexpr Strip kOf[kStrip] = {strip<1>, strip<2>, strip<3>, strip<4>};
  for (std::size_t index = job.begin; index < job.end; ++index) {
    const LinearUnit unit(job, index);
    for (std::size_t done = 0; done < unit.row_count; done += kStrip) {
      const std::size_t rows = unit.row_count - done < kStrip ? unit.row_count - done : kStrip;
      for (std::size_t b = 0; b < unit.block_count; ++b) kOf[rows - 1](job, unit.row + done, unit.block + b);
    }
  }
}

}  // namespace
}  // namespace spartan
