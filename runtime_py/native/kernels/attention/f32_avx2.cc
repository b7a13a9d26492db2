#include "attention/f32_kernels.h"
#include "simd/avx2.h"

namespace spartan {
namespace {

using V = Avx2;

// 12 sums, 2 columns and a factor of the 16 registers.
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kTileRegisters = 2;

#include "attention/f32_vector.inl"

}  // namespace

const AttentionKernels kAttentionF32_avx2 = {product, exponentials};

}  // namespace spartan
