// What this processor can execute, asked once at run time.
#pragma once

#include <cstdint>

namespace spartan {

enum CpuFeature : std::uint32_t {
  kCpuBaseline = 0,
  kCpuAvx2Fma = 1u << 0,
  kCpuAvx512 = 1u << 1,      // F, BW, DQ, VL
  kCpuAvx512Vnni = 1u << 2,
  kCpuNeon = 1u << 3,
  kCpuNeonDot = 1u << 4,     // sdot
  kCpuNeonHalf = 1u << 5,    // vectors of eight in half precision
  kCpuAvxVnni = 1u << 6,     // dot products of 256 bits without AVX-512
  kCpuAvx512Vbmi = 1u << 7,  // permutes bytes
  kCpuAmxInt8 = 1u << 8,     // tile registers, and Linux lets this process use them
};

// Bit set of CpuFeature.
std::uint32_t cpu_features();

}  // namespace spartan
