#include "layer_norm/f32_kernels.h"
#include "simd/avx512.h"

namespace spartan {
namespace {

using V = Avx512;

#include "layer_norm/f32_vector.inl"

}  // namespace

void add_layer_norm_f32_avx512(const float* x, const float* residual, std::size_t rows, std::size_t hidden,
                             const float* weight, const float* bias, float eps, float* out) {
  all_rows(x, residual, rows, hidden, weight, bias, eps, out);
}

}  // namespace spartan
