#include "spartan/widen.h"

#include <cstring>

namespace spartan {

#if defined(__aarch64__)

void widen_f16(const std::uint16_t* from, float* to, std::size_t count) {
  const auto* halves = reinterpret_cast<const __fp16*>(from);  // fcvtl is part of every ARMv8-A processor
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<float>(halves[i]);
}

#else

// No branch and no instruction beyond SSE2, so that the compiler makes vectors of it: exponent and mantissa move to
// their place in a float, which is then 2^112 too small, subnormal halves included; infinities and NaN get the
// largest exponent.
void widen_f16(const std::uint16_t* from, float* to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t half = from[i];
    const std::uint32_t magnitude = (half & 0x7fffu) << 13;
    float value;
    memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f;
    std::uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits |= magnitude >= (0x7c00u << 13) ? 0x7f800000u : 0u;
    bits |= (half & 0x8000u) << 16;
    memcpy(to + i, &bits, sizeof bits);
  }
}

#endif

}  // namespace spartan
