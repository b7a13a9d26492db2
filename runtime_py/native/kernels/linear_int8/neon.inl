// What the int8 linears on Arm share. Their rows lie in the scratch as signed bytes, q - 128, since Arm multiplies bytes
// of one signedness: sum over k of (q - zero) * w = sum over k of (q - 128) * w - (zero - 128) * sum over k of w.
#include <arm_neon.h>

#include "linear_int8/kernels.h"

namespace spartan {
namespace {

constexpr std::int32_t kSignedZero = 128;
constexpr std::uint8_t kByteOfZero = 0x80;  // -128
constexpr std::size_t kVectors = kLinearBlockOutputs / 4;  // of four results, in a block

// `count` numbers at v, zeros behind them.
inline float32x4_t load(const float* v, std::size_t count) {
  if (count >= 4) return vld1q_f32(v);
  float32x4_t r = vld1q_lane_f32(v, vdupq_n_f32(0), 0);
  if (count > 1) r = vld1q_lane_f32(v + 1, r, 1);
  if (count > 2) r = vld1q_lane_f32(v + 2, r, 2);
  return r;
}

// Minimum and maximum are NaN where an operand is, so both ends tell of a NaN and one of an infinity.
RowRange range(const float* row, std::size_t inputs) {
  float32x4_t lowest[2] = {vdupq_n_f32(0), vdupq_n_f32(0)}, highest[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
  std::size_t k = 0;
  for (; k + 8 <= inputs; k += 8) {
    const float32x4_t a = vld1q_f32(row + k), b = vld1q_f32(row + k + 4);
    lowest[0] = vminq_f32(lowest[0], a);
    highest[0] = vmaxq_f32(highest[0], a);
    lowest[1] = vminq_f32(lowest[1], b);
    highest[1] = vmaxq_f32(highest[1], b);
  }
  for (; k < inputs; k += 4) {
    const float32x4_t v = load(row + k, inputs - k);
    lowest[0] = vminq_f32(lowest[0], v);
    highest[0] = vmaxq_f32(highest[0], v);
  }
  const float low = vminvq_f32(vminq_f32(lowest[0], lowest[1]));
  const float high = vmaxvq_f32(vmaxq_f32(highest[0], highest[1]));
  constexpr float kLargest = 3.4028234663852886e38f;
  return {low, high, low >= -kLargest && high <= kLargest};
}

// Four signed values of 16 bits, not yet narrowed to bytes.
inline int16x4_t rounded(float32x4_t v, float inverse_step, int32x4_t zero) {
  return vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(vmulq_n_f32(v, inverse_step)), zero));
}

// The narrowing saturates at -128 and 127, which are 0 and 255. Bytes behind the inputs meet weights of zero.
void quantize(const float* row, std::size_t inputs, float inverse_step, std::int32_t zero, std::uint8_t* q) {
  const int32x4_t zeros = vdupq_n_s32(zero - kSignedZero);
  std::size_t k = 0;
  for (; k + 16 <= inputs; k += 16) {
    const int16x8_t low = vcombine_s16(rounded(vld1q_f32(row + k), inverse_step, zeros),
                                       rounded(vld1q_f32(row + k + 4), inverse_step, zeros));
    const int16x8_t high = vcombine_s16(rounded(vld1q_f32(row + k + 8), inverse_step, zeros),
                                        rounded(vld1q_f32(row + k + 12), inverse_step, zeros));
    std::uint8_t* to = q + k / kTileInputs * kTileBytes + k % kTileInputs;
    vst1q_s8(reinterpret_cast<std::int8_t*>(to), vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
  }
  const std::size_t padded = (inputs + kTileInputs - 1) / kTileInputs * kTileInputs;
  for (; k < padded; k += 4) {
    std::uint8_t* to = q + k / kTileInputs * kTileBytes + k % kTileInputs;
    const float32x4_t v = k < inputs ? load(row + k, inputs - k) : vdupq_n_f32(0);
    const int16x4_t four = rounded(v, inverse_step, zeros);
    vst1_lane_s32(reinterpret_cast<std::int32_t*>(to), vreinterpret_s32_s8(vqmovn_s16(vcombine_s16(four, four))), 0);
  }
}

// The exact GELU without a division: gelu(x) = max(x, 0) - a * tail(a), a = |x|, tail(a) = erfc(a / sqrt 2) / 2.
//
// tail(a) = exp(-a^2 / 2) * m(t), t = 1 / (1 + a / 4): m is a polynomial of degree 7, fitted for the least relative
// error on [0, 6.4] (5.4e-8), and exp a power of two times a polynomial of degree 5 (7.5e-8). Neither side of zero
// cancels. Beyond 6.4 a counts as 6.4, where a * tail(a) is 5e-10. A NaN stays.
struct ExactGelu {
  static constexpr std::size_t kRows = 1;  // of a block at a time

  template <std::size_t kCount>
  static void apply(float32x4_t (&x)[kCount]) {
    constexpr float kLimit = 6.4f;
    constexpr float kHalfLog2E = 0.7213475204444817f;
    constexpr float kTail[] = {0.00026705518f, 0.09534126453f, 0.13049453289f, -0.02616240681f,
                               0.36297093239f, -0.34312779455f, 0.37983848467f, -0.09962209515f};
    constexpr float kExp2[] = {1.00000007f, 0.69314697f, 0.2402212f, 0.05550713f, 0.00967554f, 0.00132765f};
    // Step by step for all vectors, since one vector's steps wait for each other.
    float32x4_t a[kCount], t[kCount], f[kCount], m[kCount], p[kCount];
    int32x4_t whole[kCount];
    const auto each = [](auto step) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kCount; ++i) step(i);
    };
    each([&](std::size_t i) { a[i] = vminq_f32(vabsq_f32(x[i]), vdupq_n_f32(kLimit)); });
    each([&](std::size_t i) { f[i] = vmulq_f32(vmulq_n_f32(a[i], -kHalfLog2E), a[i]); });
    each([&](std::size_t i) { m[i] = vfmaq_n_f32(vdupq_n_f32(1.0f), a[i], 0.25f); });
    // The estimate's 8 bits become 24: 1 / d = r / (1 - e) = r (1 + e + e^2 + ...), e = 1 - d r.
    each([&](std::size_t i) { t[i] = vrecpeq_f32(m[i]); });
    each([&](std::size_t i) { whole[i] = vcvtnq_s32_f32(f[i]); });
    each([&](std::size_t i) { m[i] = vfmsq_f32(vdupq_n_f32(1.0f), m[i], t[i]); });
    each([&](std::size_t i) { f[i] = vsubq_f32(f[i], vcvtq_f32_s32(whole[i])); });
    each([&](std::size_t i) { m[i] = vfmaq_f32(m[i], m[i], m[i]); });
    each([&](std::size_t i) { p[i] = vfmaq_n_f32(vdupq_n_f32(kExp2[4]), f[i], kExp2[5]); });
    each([&](std::size_t i) { t[i] = vfmaq_f32(t[i], t[i], m[i]); });
    each([&](std::size_t i) { m[i] = vfmaq_n_f32(vdupq_n_f32(kTail[6]), t[i], kTail[7]); });
#pragma GCC unroll 4
    for (int power = 3; power >= 0; --power) {
      each([&](std::size_t i) { m[i] = vfmaq_f32(vdupq_n_f32(kTail[power + 2]), m[i], t[i]); });
      each([&](std::size_t i) { p[i] = vfmaq_f32(vdupq_n_f32(kExp2[power]), p[i], f[i]); });
    }
#pragma GCC unroll 2
    for (int power = 1; power >= 0; --power) {
      each([&](std::size_t i) { m[i] = vfmaq_f32(vdupq_n_f32(kTail[power]), m[i], t[i]); });
    }
    each([&](std::size_t i) { m[i] = vmulq_f32(m[i], p[i]); });
    each([&](std::size_t i) { m[i] = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(m[i]), vshlq_n_s32(whole[i], 23))); });
    each([&](std::size_t i) { x[i] = vfmsq_f32(vmaxq_f32(x[i], vdupq_n_f32(0)), a[i], m[i]); });
  }
};

// From sums to results for one block of 16 outputs, as many rows together as its GELU takes.
template <class Gelu>
class BlockResults {
 public:
  BlockResults(const LinearJob& job, std::size_t block)
      : job_(job), first_(block * kLinearBlockOutputs), count_(block_outputs(job, block)) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      const std::size_t n = first_ + v * 4, left = v * 4 < count_ ? count_ - v * 4 : 0;
      scales_[v] = left > 0 ? load(job.weights.scales + n, left) : vdupq_n_f32(0);
      // Without a bias -0 is added, which changes nothing.
      bias_[v] = left > 0 && job.weights.bias != nullptr ? load(job.weights.bias + n, left) : vdupq_n_f32(-0.0f);
      const auto* sums = reinterpret_cast<const float*>(job.weights.sums + n);  // moved, never computed with
      sums_[v] = left > 0 ? vreinterpretq_s32_f32(load(sums, left)) : vdupq_n_s32(0);
    }
  }

  // `dots`: of the rows from `row` on.
  template <bool kGelu, std::size_t kRows>
  void store(std::size_t row, const int32x4_t (&dots)[kRows][kVectors]) const {
    constexpr std::size_t kTogether = kRows % Gelu::kRows == 0 ? Gelu::kRows : 1;
#pragma GCC unroll 4
    for (std::size_t first = 0; first < kRows; first += kTogether) {
      float32x4_t y[kTogether * kVectors];
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kTogether; ++r) scale(row + first + r, dots[first + r], y + r * kVectors);
      if constexpr (kGelu) Gelu::apply(y);
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kTogether; ++r) write(row + first + r, y + r * kVectors);
    }
  }

 private:
  void scale(std::size_t row, const int32x4_t* dots, float32x4_t* y) const {
    const std::int32_t zero = job_.row_zeros[row] - kSignedZero;
    const float step = job_.row_steps[row];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      const int32x4_t sums = vmlsq_n_s32(dots[v], sums_[v], zero);
      y[v] = vaddq_f32(vmulq_f32(vcvtq_f32_s32(sums), vmulq_n_f32(scales_[v], step)), bias_[v]);
    }
  }

  void write(std::size_t row, const float32x4_t* y) const {
    float* to = job_.out + row * job_.outputs + first_;
    if (count_ == kLinearBlockOutputs) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) vst1q_f32(to + v * 4, y[v]);
      return;
    }
    alignas(16) float all[kLinearBlockOutputs];
    for (std::size_t v = 0; v < kVectors; ++v) vst1q_f32(all + v * 4, y[v]);
    for (std::size_t n = 0; n < count_; ++n) to[n] = all[n];
  }

  const LinearJob& job_;
  std::size_t first_, count_;
  float32x4_t scales_[kVectors], bias_[kVectors];
  int32x4_t sums_[kVectors];
};

// A block's weights stay in the cache while all rows of a unit pass: `Strip` takes kRows of them at a time.
template <class Strip>
void multiply_units(const LinearJob& job) {
  for (std::size_t index = job.begin; index < job.end; ++index) {
    const LinearUnit unit(job, index);
    for (std::size_t block = unit.block; block < unit.block + unit.block_count; ++block) {
      job.weights.gelu ? Strip::template rows<true>(job, unit, block) : Strip::template rows<false>(job, unit, block);
    }
  }
}

inline const std::int8_t* row_bytes(const LinearJob& job, std::size_t row) {
  const std::uint8_t* x = job.x + row / kTileRows * job.input_blocks * kTileBytes + row % kTileRows * kTileInputs;
  return reinterpret_cast<const std::int8_t*>(x);
}

}  // namespace
}  // namespace spartan
