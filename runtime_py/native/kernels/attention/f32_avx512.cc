#include "attention/f32_kernels.h"
#include "simd/avx512.h"

namespace spartan {
namespace {

using V = Avx512;

// 24 sums, 4 columns and a factor of the 32 registers.
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kTileRegisters = 4;

#include "attention/f32_vector.inl"

}  // namespace

const AttentionKernels kAttentionF32_avx512 = {product, exponentials};

}  // namespace spartan
