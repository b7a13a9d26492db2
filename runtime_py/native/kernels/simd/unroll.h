// Loops over sums in registers are unrolled whole: else GCC keeps the array that the sums are in memory, to index it,
// and stores it at every step.
#pragma once

#define SPARTAN_UNROLL _Pragma("GCC unroll 16")
