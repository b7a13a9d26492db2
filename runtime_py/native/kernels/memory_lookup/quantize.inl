// Float rows and weights to integers: plain loops that each instruction set's .cc compiles for itself by including this
// inside its anonymous namespace. The same integers everywhere: a maximum, one division, one product rounded to float,
// and rounding to the nearest integer, ties to even.

// Adding 1.5 * 2^23 leaves no bits for a fraction: the sum's bits are those of the constant plus the rounded integer.
constexpr float kRounder = 12582912.0f;
constexpr std::int32_t kRounderBits = 0x4b400000;

inline std::int32_t to_bits(float v) {
  std::int32_t bits;
  __builtin_memcpy(&bits, &v, sizeof bits);
  return bits;
}

inline float from_bits(std::int32_t bits) {
  float v;
  __builtin_memcpy(&v, &bits, sizeof v);
  return v;
}

inline std::int32_t round_to_int(float v) { return to_bits(v + kRounder) - kRounderBits; }  // |v| < 2^22

// Magnitudes are ordered as their bits are, infinity and NaN above all that is finite.
inline std::int32_t magnitude(float v) { return to_bits(v) & 0x7fffffff; }

constexpr std::int32_t kInfinity = 0x7f800000;
constexpr std::int32_t kNotANumber = 0x7fc00000;
constexpr std::int32_t kTooSmall = (127 - 100) << 23;  // 2^-100, whose inverse is far from overflow

inline std::int32_t largest_magnitude(const float* v, std::size_t count) {
  std::int32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t own = magnitude(v[i]);
    largest = own > largest ? own : largest;
  }
  return largest;
}

// Sets the scale, and what to multiply by to get integers within -127 .. 127; false where all are to be zero.
inline bool find_scale(std::int32_t largest, float* scale, float* inverse) {
  if (largest >= kInfinity) {
    *scale = from_bits(kNotANumber);
    return false;
  }
  if (largest < kTooSmall) {
    *scale = 0.0f;
    return false;
  }
  const float value = from_bits(largest);
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

std::int32_t quantize_weights_int8(const float* weights, const float* value_scales, const std::uint32_t* quads,
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

// The same for `Width` groups at once, as the compiler's vectors: it does not find them itself in loops so short.
template <std::size_t Width>
inline void quantize_weights_of_groups(const float* weights, const float* value_scales, const std::uint32_t* quads,
                                       std::size_t count, std::size_t groups, float* scratch, std::int8_t* cells,
                                       float* scales, std::int32_t* sums) {
  typedef float Floats __attribute__((vector_size(sizeof(float) * Width)));
  typedef std::int32_t Ints __attribute__((vector_size(sizeof(std::int32_t) * Width)));  // a cast keeps the bits
  Ints largest = {};
  for (std::size_t i = 0; i < kQuad * count; ++i) {
    Floats product;
    __builtin_memcpy(&product, value_scales + (kQuad * quads[i / kQuad] + i % kQuad) * groups, sizeof product);
    product *= weights[i];
    __builtin_memcpy(scratch + i * Width, &product, sizeof product);
    const Ints own = (Ints)product & 0x7fffffff;
    largest = own > largest ? own : largest;
  }
  const Floats value = (Floats)largest;
  const Ints usable = (largest >= kTooSmall) & (largest < kInfinity);  // all bits, or none
  const Floats scale = value / 127.0f, inverse = 127.0f / value;
  const Ints scale_bits = ((Ints)scale & usable) | ((largest >= kInfinity) & kNotANumber);
  __builtin_memcpy(scales, &scale_bits, sizeof scale_bits);
  Ints sum = {};
  for (std::size_t i = 0; i < count; ++i) {
    Ints quad = {};
    for (std::size_t j = 0; j < kQuad; ++j, scratch += Width) {
      Floats shifted;
      __builtin_memcpy(&shifted, scratch, sizeof shifted);
      shifted = shifted * inverse + kRounder;
      const Ints q = ((Ints)shifted - kRounderBits) & usable;
      sum += q;
      quad |= q << static_cast<std::int32_t>(8 * j);  // none is negative; little-endian: cell j is byte j
    }
    __builtin_memcpy(cells + kQuad * groups * i, &quad, sizeof quad);
  }
  __builtin_memcpy(sums, &sum, sizeof sum);
}

void quantize_weights_int4(const float* weights, const float* value_scales, const std::uint32_t* quads,
                           std::size_t count, std::size_t groups, float* scratch, std::int8_t* cells, float* scales,
                           std::int32_t* sums) {
  std::size_t g = 0;
  const auto several = [&](auto width) {
    constexpr std::size_t kWidth = decltype(width)::value;
    for (; g + kWidth <= groups; g += kWidth) {
      quantize_weights_of_groups<kWidth>(weights, value_scales + g, quads, count, groups, scratch, cells + kQuad * g,
                                         scales + g, sums + g);
    }
  };
  several(std::integral_constant<std::size_t, kWeightGroups>{});
  several(std::integral_constant<std::size_t, 4>{});
  several(std::integral_constant<std::size_t, 1>{});
}
