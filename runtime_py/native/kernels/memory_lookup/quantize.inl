// Float rows and weights to integers: plain loops that each instruction set's .cc compiles for itself by including this
// inside its anonymous namespace. The same integers everywhere: a maximum, one division, one product rounded to float,
// and rounding to the nearest integer, ties to even.

// Adding 1.5 * 2^23 leaves no bits for a fraction: the sum's bits are those of the constant plus the rounded integer.
constexpr float kRounder = 12582912.0f;
constexpr std::int32_t kRounderBits = 0x4b400000;

inline std::int32_t round_to_int(float v) {  // |v| < 2^22
  const float shifted = v + kRounder;
  std::int32_t bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  return bits - kRounderBits;
}

// The largest magnitude, as its bits: ordered as magnitudes are, infinity and NaN above all that is finite.
inline std::int32_t largest_magnitude(const float* v, std::size_t count) {
  std::int32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::int32_t bits;
    __builtin_memcpy(&bits, v + i, sizeof bits);
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

// Sets the scale, and what to multiply by to get integers within -127 .. 127; false where all are to be zero.
inline bool find_scale(std::int32_t largest, float* scale, float* inverse) {
  constexpr std::int32_t kInfinity = 0x7f800000;
  constexpr std::int32_t kTooSmall = (127 - 100) << 23;  // 2^-100, whose inverse is far from overflow
  if (largest >= kInfinity) {
    *scale = __builtin_nanf("");
    return false;
  }
  if (largest < kTooSmall) {
    *scale = 0.0f;
    return false;
  }
  float value;
  __builtin_memcpy(&value, &largest, sizeof value);
  *scale = value / 127.0f;
  *inverse = 127.0f / value;
  return true;
}

inline std::int32_t quantize(const float* v, std::size_t count, float inverse, std::int8_t* out) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t q = round_to_int(v[i] * inverse);
    sum += q;
    out[i] = static_cast<std::int8_t>(q);
  }
  return sum;
}

void quantize_rows(const float* x, std::size_t positions, std::size_t hidden, std::size_t group, std::int8_t* cells,
                   std::size_t stride, float* scales, std::int32_t* sums) {
  const std::size_t groups = hidden / group;
  for (std::size_t p = 0; p < positions; ++p, x += hidden, cells += stride, sums += groups) {
    float inverse;
    if (!find_scale(largest_magnitude(x, hidden), scales + p, &inverse)) {
      for (std::size_t h = 0; h < stride; ++h) cells[h] = 0;
      for (std::size_t g = 0; g < groups; ++g) sums[g] = 0;
      continue;
    }
    if (group == kInt4Group) {  // a constant length, for the compiler
      for (std::size_t g = 0; g < groups; ++g) {
        sums[g] = quantize(x + g * kInt4Group, kInt4Group, inverse, cells + g * kInt4Group);
      }
    } else {
      for (std::size_t g = 0; g < groups; ++g) sums[g] = quantize(x + g * group, group, inverse, cells + g * group);
    }
    for (std::size_t h = hidden; h < stride; ++h) cells[h] = 0;
  }
}

std::int32_t quantize_weights(const float* weights, const float* value_scales, const std::uint32_t* quads,
                              std::size_t count, float* scratch, std::int8_t* cells, float* scale) {
  for (std::size_t i = 0; i < count; ++i) {
    const float* of_quad = value_scales + kQuad * quads[i];
    for (std::size_t j = 0; j < kQuad; ++j) scratch[kQuad * i + j] = weights[kQuad * i + j] * of_quad[j];
  }
  float inverse;
  if (!find_scale(largest_magnitude(scratch, kQuad * count), scale, &inverse)) {
    for (std::size_t i = 0; i < kQuad * count; ++i) cells[i] = 0;
    return 0;
  }
  return quantize(scratch, kQuad * count, inverse, cells);
}
