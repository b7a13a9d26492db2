// Attention in half precision, eight numbers in a register: for programs whose products are rounded to 8 bits anyway.
//
// Scores come in powers of two: q is multiplied by log2(e) before it is rounded. A weight is 2^(s - most + headroom), so
// that weights down to 2^-13 / 2^headroom of the largest are told apart; smaller ones are 0. Sums of 64 products stay in
// half precision and are added up in float. A head is left to float where a sum could overflow, a score is beyond
// kLargestScore (its last bit would show in the weight), values are so small that half precision has few bits for them,
// or a number is none.
#include <arm_neon.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "attention/f32_kernels.h"
#include "attention/half_kernels.h"

namespace spartan {
namespace {
namespace fp16 {  // in every symbol's name, so that a disassembly can tell what is chosen at run time

using Half = float16_t;

constexpr std::size_t kLanes = 8;
constexpr std::size_t kRows = 8;       // queries at a time
constexpr std::size_t kColumns = 16;   // of a tile
constexpr std::size_t kChunk = 64;     // products in one sum
constexpr float kLog2E = 1.44269504f;
constexpr float kLargest = 512;        // of keys, queries and values
constexpr float kSmallest = 0x1p-6f;   // of the largest value
constexpr float kLargestSum = 32768;   // of a sum of products in half precision
constexpr float kLargestScore = 64;    // as a power of two
constexpr int kMostHeadroom = 9;
constexpr float kLowestPower = -13;    // of a weight: exponents of normal numbers end at -14, and 2^f begins at 0.7

constexpr std::size_t up(std::size_t count, std::size_t to) { return (count + to - 1) / to * to; }

// Sizes in numbers; rows are multiples of 16 or 8 of them, and what lies behind the head's own is zero.
struct Sizes {
  std::size_t length;        // of a row of keys, weights and mask
  std::size_t depth, width;  // of a head, for the first product and for the second

  Sizes(const AttentionShape& shape, std::size_t padded_positions)
      : length(padded_positions),
        depth(up(static_cast<std::size_t>(shape.head_size), kLanes)),
        width(up(static_cast<std::size_t>(shape.head_size), kColumns)) {}
  std::size_t queries() const { return up(kRows * depth, kColumns); }
  std::size_t all() const { return length + (depth + width + kRows) * length + queries(); }
};

struct Scratch : Sizes {
  Half *mask, *keys, *values, *q, *weights;

  Scratch(const Sizes& sizes, void* memory)
      : Sizes(sizes),
        mask(static_cast<Half*>(memory)),
        keys(mask + length),               // [depth, length]
        values(keys + depth * length),     // [length, width]
        q(values + length * width),        // [kRows, depth]
        weights(q + queries()) {}  // [kRows, length]
};

std::size_t scratch_bytes(const AttentionShape& shape) {
  return Sizes(shape, up(static_cast<std::size_t>(shape.positions), kColumns)).all() * sizeof(Half);
}

// `count` of the eight numbers at x, times `factor`, zeros behind them.
template <bool kScaled = false>
inline float16x8_t load(const float* x, std::size_t count, float factor = 1) {
  float part[kLanes] = {};
  if (count < kLanes) {
    std::copy_n(x, count, part);
    x = part;
  }
  float32x4_t low = vld1q_f32(x), high = vld1q_f32(x + 4);
  if constexpr (kScaled) low = vmulq_n_f32(low, factor), high = vmulq_n_f32(high, factor);
  return vcvt_high_f16_f32(vcvt_f16_f32(low), high);
}

// NaN where a number is one.
class Largest {
 public:
  void add(float16x8_t x) { most_ = vmaxq_f16(most_, vabsq_f16(x)); }
  float get() const { return static_cast<float>(vmaxvq_f16(most_)); }

 private:
  float16x8_t most_ = vdupq_n_f16(0);
};

inline void transpose(float16x8_t (&x)[kLanes]) {
  float32x4_t pairs[kLanes];
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kLanes; i += 2) {
    pairs[i] = vreinterpretq_f32_f16(vtrn1q_f16(x[i], x[i + 1]));
    pairs[i + 1] = vreinterpretq_f32_f16(vtrn2q_f16(x[i], x[i + 1]));
  }
  float64x2_t fours[kLanes];
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t from = i / 2 * 4 + i % 2;
    fours[from] = vreinterpretq_f64_f32(vtrn1q_f32(pairs[from], pairs[from + 2]));
    fours[from + 2] = vreinterpretq_f64_f32(vtrn2q_f32(pairs[from], pairs[from + 2]));
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    x[i] = vreinterpretq_f16_f64(vtrn1q_f64(fours[i], fours[i + 4]));
    x[i + 4] = vreinterpretq_f16_f64(vtrn2q_f64(fours[i], fours[i + 4]));
  }
}

// keys [depth, length] of k [positions, size]; the largest.
float pack_keys(const float* k, std::size_t stride, std::size_t positions, std::size_t size, std::size_t length,
                Half* keys) {
  Largest largest;
  for (std::size_t j = 0; j < length; j += kLanes) {
    for (std::size_t c = 0; c < size; c += kLanes) {
      float16x8_t square[kLanes];
#pragma GCC unroll 8
      for (std::size_t i = 0; i < kLanes; ++i) {
        square[i] = j + i < positions ? load(k + (j + i) * stride + c, size - c) : vdupq_n_f16(0);
        largest.add(square[i]);
      }
      transpose(square);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < kLanes; ++i) vst1q_f16(keys + (c + i) * length + j, square[i]);
    }
  }
  return largest.get();
}

// values [length, width] of v [positions, size]; the largest.
float pack_values(const float* v, std::size_t stride, std::size_t positions, std::size_t size, std::size_t length,
                  std::size_t width, Half* values) {
  Largest largest;
  for (std::size_t j = 0; j < length; ++j) {
    for (std::size_t c = 0; c < width; c += kLanes) {
      const float16x8_t x = j < positions && c < size ? load(v + j * stride + c, size - c) : vdupq_n_f16(0);
      largest.add(x);
      vst1q_f16(values + j * width + c, x);
    }
  }
  return largest.get();
}

// queries [count, depth], multiplied by log2(e); the largest.
float pack_queries(const float* q, std::size_t stride, std::size_t count, std::size_t size, std::size_t depth,
                   Half* queries) {
  Largest largest;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t c = 0; c < size; c += kLanes) {
      const float16x8_t x = load<true>(q + i * stride + c, size - c, kLog2E);
      largest.add(x);
      vst1q_f16(queries + i * depth + c, x);
    }
  }
  return largest.get();
}

// sum + x * factors[lane]. GCC 12 makes a copy of that lane in a register of its own from the intrinsic; only the lower
// half of the registers have lanes in half precision.
template <int kLane>
inline float16x8_t add_product(float16x8_t sum, float16x8_t x, float16x8_t factors) {
  asm("fmla %0.8h, %1.8h, %2.h[%3]" : "+w"(sum) : "w"(x), "x"(factors), "i"(kLane));
  return sum;
}

template <int kLane, std::size_t kCount>
inline void step(const Half* b, const float16x8_t (&factors)[kCount], float16x8_t (&sum)[kCount][2]) {
  const float16x8_t left = vld1q_f16(b), right = vld1q_f16(b + kLanes);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kCount; ++r) {
    sum[r][0] = add_product<kLane>(sum[r][0], left, factors[r]);
    sum[r][1] = add_product<kLane>(sum[r][1], right, factors[r]);
  }
}

// sum[r] = a[r, :depth] b[:depth, :16], depth a multiple of 8.
template <std::size_t kCount>
inline void multiply(const Half* a, std::size_t a_stride, const Half* b, std::size_t b_stride, std::size_t depth,
                     float16x8_t (&sum)[kCount][2]) {
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kCount; ++r) sum[r][0] = sum[r][1] = vdupq_n_f16(0);
  for (std::size_t i = 0; i < depth; i += kLanes, b += kLanes * b_stride) {
    float16x8_t factors[kCount];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kCount; ++r) factors[r] = vld1q_f16(a + r * a_stride + i);
    step<0>(b, factors, sum);
    step<1>(b + b_stride, factors, sum);
    step<2>(b + 2 * b_stride, factors, sum);
    step<3>(b + 3 * b_stride, factors, sum);
    step<4>(b + 4 * b_stride, factors, sum);
    step<5>(b + 5 * b_stride, factors, sum);
    step<6>(b + 6 * b_stride, factors, sum);
    step<7>(b + 7 * b_stride, factors, sum);
  }
}

template <std::size_t kCount>
void scores(const Scratch& scratch, const Columns& columns, std::size_t row) {
  for (std::size_t j = columns.begin; j < columns.end; j += kColumns) {
    float16x8_t sum[kCount][2];
    multiply(scratch.q + row * scratch.depth, scratch.depth, scratch.keys + j, scratch.length, scratch.depth, sum);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kCount; ++r) {
      vst1q_f16(scratch.weights + (row + r) * scratch.length + j, sum[r][0]);
      vst1q_f16(scratch.weights + (row + r) * scratch.length + j + kLanes, sum[r][1]);
    }
  }
}

// out[r, :size] = weights[r] values / totals[r]
template <std::size_t kCount>
void weighted_values(const Scratch& scratch, const Columns& columns, std::size_t size, std::size_t row,
                     const float* totals, float* out, std::size_t out_stride) {
  for (std::size_t c = 0; c < scratch.width; c += kColumns) {
    float32x4_t wide[kCount][4];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kCount; ++r) {
#pragma GCC unroll 4
      for (std::size_t n = 0; n < 4; ++n) wide[r][n] = vdupq_n_f32(0);
    }
    for (std::size_t j = columns.begin; j < columns.end; j += kChunk) {
      float16x8_t sum[kCount][2];
      multiply(scratch.weights + row * scratch.length + j, scratch.length, scratch.values + j * scratch.width + c, scratch.width,
               std::min(kChunk, columns.end - j), sum);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kCount; ++r) {
#pragma GCC unroll 2
        for (std::size_t n = 0; n < 2; ++n) {
          wide[r][2 * n] = vaddq_f32(wide[r][2 * n], vcvt_f32_f16(vget_low_f16(sum[r][n])));
          wide[r][2 * n + 1] = vaddq_f32(wide[r][2 * n + 1], vcvt_high_f32_f16(sum[r][n]));
        }
      }
    }
    const std::size_t count = std::min(kColumns, size - c);
    for (std::size_t r = 0; r < kCount; ++r) {
      const float share = 1.0f / totals[row + r];
      float all[kColumns];
      float* to = out + (row + r) * out_stride + c;
      float* target = count == kColumns ? to : all;
      for (std::size_t n = 0; n < 4; ++n) vst1q_f32(target + n * 4, vmulq_n_f32(wide[r][n], share));
      if (target == all) std::copy_n(all, count, to);
    }
  }
}

// Calls `with(n, row)` for parts of n rows that tiles exist for.
template <class With>
void in_tiles(std::size_t count, With with) {
  std::size_t row = 0;
  if (count == kRows) return with(std::integral_constant<std::size_t, kRows>(), row);
  if (count & 4) with(std::integral_constant<std::size_t, 4>(), row), row += 4;
  if (count & 2) with(std::integral_constant<std::size_t, 2>(), row), row += 2;
  if (count & 1) with(std::integral_constant<std::size_t, 1>(), row);
}

// Scores of a row become weights, of which the largest is 2^headroom; their sum, or NaN where scores are too large.
float weigh(Half* s, const Half* mask, std::size_t length, int headroom) {
  float16x8_t largest = vdupq_n_f16(-std::numeric_limits<float>::infinity());
  for (std::size_t j = 0; j < length; j += kLanes) {
    const float16x8_t x = vaddq_f16(vld1q_f16(s + j), vld1q_f16(mask + j));
    vst1q_f16(s + j, x);
    largest = vmaxq_f16(largest, x);
  }
  const float most = static_cast<float>(vmaxvq_f16(largest));
  if (!(std::fabs(most) <= kLargestScore)) return std::numeric_limits<float>::quiet_NaN();
  // 2^f on [-0.5, 0.5] to 5.7e-4, the roundings of its steps included.
  constexpr float kExp2[] = {1.0f, 0.69335938f, 0.24255371f, 0.05517578f};  // exact in half precision
  const float16x8_t shift = vdupq_n_f16(static_cast<Half>(most - static_cast<float>(headroom)));
  float32x4_t total = vdupq_n_f32(0);
  for (std::size_t j = 0; j < length; j += 2 * kLanes) {
    float16x8_t weights[2];
#pragma GCC unroll 2
    for (std::size_t i = 0; i < 2; ++i) {
      const float16x8_t x = vsubq_f16(vld1q_f16(s + j + i * kLanes), shift);
      const float16x8_t whole = vrndnq_f16(x), f = vsubq_f16(x, whole);
      float16x8_t p = vfmaq_f16(vdupq_n_f16(kExp2[2]), f, vdupq_n_f16(kExp2[3]));
      p = vfmaq_f16(vdupq_n_f16(kExp2[1]), p, f);
      p = vfmaq_f16(vdupq_n_f16(kExp2[0]), p, f);
      const int16x8_t exponent = vshlq_n_s16(vcvtq_s16_f16(whole), 10);
      const uint16x8_t weight = vreinterpretq_u16_s16(vaddq_s16(vreinterpretq_s16_f16(p), exponent));
      weights[i] = vreinterpretq_f16_u16(vandq_u16(weight, vcgeq_f16(x, vdupq_n_f16(kLowestPower))));
      vst1q_f16(s + j + i * kLanes, weights[i]);
    }
    const float16x8_t both = vaddq_f16(weights[0], weights[1]);
    total = vaddq_f32(total, vaddq_f32(vcvt_f32_f16(vget_low_f16(both)), vcvt_high_f32_f16(both)));
  }
  return vaddvq_f32(total);
}

bool head(const AttentionShape& shape, const AttentionRows& rows, std::size_t first, const float* mask,
          std::size_t length, void* memory, float* out, std::size_t out_stride) {
  const auto positions = static_cast<std::size_t>(shape.positions), queries = static_cast<std::size_t>(shape.queries);
  const auto size = static_cast<std::size_t>(shape.head_size);
  const auto kv_stride = static_cast<std::size_t>(rows.kv_stride), q_stride = static_cast<std::size_t>(rows.q_stride);
  const auto window = static_cast<std::size_t>(rows.window);
  if (size > kChunk) return false;
  const Scratch scratch(Sizes(shape, length), memory);
  const float keys = pack_keys(rows.k + first, kv_stride, positions, size, length, scratch.keys);
  const float values = pack_values(rows.v + first, kv_stride, positions, size, length, scratch.width, scratch.values);
  if (!(keys <= kLargest && values <= kLargest && values >= kSmallest)) return false;
  int headroom = std::ilogb(kLargestSum / static_cast<float>(kChunk) / values);
  headroom = std::min(headroom, kMostHeadroom);
  for (std::size_t j = 0; j < length; j += kLanes) vst1q_f16(scratch.mask + j, load<true>(mask + j, kLanes, kLog2E));
  for (std::size_t i = 0; i < queries; i += kRows) {
    const std::size_t count = std::min(kRows, queries - i);
    const float largest = pack_queries(rows.q + i * q_stride + first, q_stride, count, size, scratch.depth, scratch.q);
    if (!(largest * keys * static_cast<float>(size) <= kLargestSum)) return false;
    const Columns columns(i, count, window, length);
    in_tiles(count, [&](auto tile, std::size_t row) { scores<decltype(tile)::value>(scratch, columns, row); });
    float totals[kRows];
    for (std::size_t r = 0; r < count; ++r) {
      Half* weights = scratch.weights + r * length + columns.begin;
      columns.fill_beyond<Half>(i + r, window, weights, -std::numeric_limits<float>::infinity());
      totals[r] = weigh(weights, scratch.mask + columns.begin, columns.end - columns.begin, headroom);
      if (!(totals[r] > 0)) return false;
    }
    float* to = out + i * out_stride + first;
    in_tiles(count, [&](auto tile, std::size_t row) {
      weighted_values<decltype(tile)::value>(scratch, columns, size, row, totals, to, out_stride);
    });
  }
  return true;
}

}  // namespace fp16
}  // namespace

const HalfAttention kHalfAttention_neonhalf = {fp16::scratch_bytes, fp16::head};

}  // namespace spartan
