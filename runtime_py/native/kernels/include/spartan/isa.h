// The instruction sets that kernels are written for, from plain to best. Not every family has kernels for every one.
#pragma once

#include <cstdint>

namespace spartan {

// kBest stands for the best one of this machine that a family has kernels for.
enum class Isa : std::int32_t { kBest = 0, kPortable, kAvx2, kAvxVnni, kAvx512, kAvx512Vnni, kAmx, kNeon, kNeonDot };

const char* isa_name(Isa isa);
// kBest where none is called so.
Isa isa_named(const char* name);
// Whether this processor has it. Whoever asks first asks Linux for the tile registers, once a process; where it refuses
// there is no kAmx.
bool has_isa(Isa isa);

}  // namespace spartan
