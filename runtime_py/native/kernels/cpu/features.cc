#include "cpu/features.h"

#include "cpu/amx.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace spartan {
namespace {

#if defined(__x86_64__)
// Not every compiler knows this feature by name (clang 14 does not). The registers are AVX2's.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAvxVnni = 1u << 4;  // leaf 7, subleaf 1, eax
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni) != 0;
}
#endif

std::uint32_t detect() {
  std::uint32_t features = kCpuBaseline;
#if defined(__x86_64__)
  // The compiler's run-time library reads cpuid and checks that the system saves the wide registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    features |= kCpuAvx2Fma;
    if (has_avx_vnni()) features |= kCpuAvxVnni;
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    features |= kCpuAvx512;
    if (__builtin_cpu_supports("avx512vnni")) features |= kCpuAvx512Vnni;
    if (__builtin_cpu_supports("avx512vbmi")) features |= kCpuAvx512Vbmi;
  }
  if (amx_int8_permitted()) features |= kCpuAmxInt8;
#elif defined(__aarch64__)
  features |= kCpuNeon;  // part of every ARMv8-A application processor
#if defined(__linux__)
  // Bits of the Linux arm64 ABI (asm/hwcap.h), spelled out so that an old C library's headers do.
  constexpr unsigned long kHwcapAsimdHp = 1ul << 10, kHwcapAsimdDp = 1ul << 20;
  if (getauxval(AT_HWCAP) & kHwcapAsimdDp) features |= kCpuNeonDot;
  if (getauxval(AT_HWCAP) & kHwcapAsimdHp) features |= kCpuNeonHalf;
#endif
#endif
  return features;
}

}  // namespace

std::uint32_t cpu_features() {
  static const std::uint32_t features = detect();
  return features;
}

}  // namespace spartan
