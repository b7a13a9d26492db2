// The instruction sets that kernels are written for, from plain to best. Not every family has kernels for every one.
#pragma once

#include <cstdint>

namespace spartan {

// kBest stands for the best one of this machine that a family has kernels for.
enum class Isa : std::int32_t {
  kBest = 0, kPortable, kAvx2, kAvxVnni, kAvx512, kAvx512Vnni, kAmx, kNeon, kNeonDot, kNeonHalf
};

const char* isa_name(Isa isa);
// The instruction set called `name`; kBest if there is none.
Isa isa_named(const char* name);
// Whether this processor has it. The first call requests the AMX tile registers from Linux, once per process; if
// Linux refuses, kAmx is unavailable.
bool has_isa(Isa isa);

}  // namespace spartan
