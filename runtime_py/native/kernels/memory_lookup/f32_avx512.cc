#include "memory_lookup/f32_kernels.h"
#include "simd/avx512.h"

namespace spartan {
namespace {

using V = Avx512;

// 24 sums, 4 weights and a broadcast fill the 32 registers.
constexpr std::size_t kLogitBlocks = 4;
template <std::size_t Blocks>
constexpr std::size_t kLogitPositions = Blocks == 4 ? 6 : Blocks == 3 ? 8 : 12;
constexpr std::size_t kDotRows = 4;
constexpr std::size_t kSumBlocks = 2;

#include "memory_lookup/f32_vector.inl"
#include "memory_lookup/select.inl"

}  // namespace

const F32Kernels kMemoryLookupF32_avx512 = {
    logits,    dots,           weighted_rows, weighted_blocks,  exp_nonpositive,
    normalize, select_largest, shift_logits,  weights_of_chosen};

}  // namespace spartan
