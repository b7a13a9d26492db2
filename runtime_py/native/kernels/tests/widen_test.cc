// Every half there is, against the value that its bits spell in IEEE 754.
#include "spartan/widen.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

double spelled(std::uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  const double sign = half & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

bool same(float got, double expected) {
  if (std::isnan(expected)) return std::isnan(got);
  return got == expected && std::signbit(got) == std::signbit(expected);
}

}  // namespace

int main() {
  constexpr std::size_t kCount = 1 << 16;
  constexpr float kGuard = 12345.0f;
  std::vector<std::uint16_t> halves(kCount);
  for (std::size_t i = 0; i < kCount; ++i) halves[i] = static_cast<std::uint16_t>(i);
  std::vector<float> floats(kCount + 1, kGuard);
  spartan::widen_f16(halves.data(), floats.data(), kCount);
  int wrong = floats[kCount] != kGuard;
  for (std::size_t i = 0; i < kCount; ++i) {
    if (!same(floats[i], spelled(halves[i]))) {
      printf("half 0x%04zx became %g, not %g\n", i, static_cast<double>(floats[i]), spelled(halves[i]));
      ++wrong;
    }
  }
  // Lengths that no vector divides, from an odd place.
  for (std::size_t count = 0; count < 40; ++count) {
    std::vector<float> some(count + 1, kGuard);
    spartan::widen_f16(halves.data() + 15361, some.data(), count);
    wrong += some[count] != kGuard;
    for (std::size_t i = 0; i < count; ++i) wrong += !same(some[i], spelled(halves[15361 + i]));
  }
  printf("%d wrong\n", wrong);
  return wrong == 0 ? 0 : 1;
}
