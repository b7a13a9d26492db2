#include "memory_lookup/f32_kernels.h"
#include "simd/avx2.h"

namespace spartan {
namespace {

using V = Avx2;

// 12 sums, 2 weights and a broadcast of the 16 registers.
constexpr std::size_t kLogitBlocks = 1;
template <std::size_t Blocks>
constexpr std::size_t kLogitPositions = 6;
constexpr std::size_t kDotRows = 3;
constexpr std::size_t kSumBlocks = 1;

#include "memory_lookup/f32_vector.inl"
#include "memory_lookup/select.inl"

}  // namespace

const F32Kernels kMemoryLookupF32_avx2 = {
    logits,          dots,
    weighted_rows,   weighted_blocks,
    exp_nonpositive, add_layer_norm_f32_avx2,
    select_largest, shift_logits,
    weights_of_chosen};

}  // namespace spartan
