// The definition, in plain C++.
#include <algorithm>
#include <cmath>

#include "attention/f32_kernels.h"

namespace spartan {
namespace {

void product(const float* a, std::size_t a_stride, std::size_t rows, const float* b, std::size_t b_stride,
             std::size_t depth, std::size_t columns, float* c, std::size_t c_stride) {
  for (std::size_t r = 0; r < rows; ++r) {
    std::fill(c + r * c_stride, c + r * c_stride + columns, 0.0f);
    for (std::size_t i = 0; i < depth; ++i) {
      for (std::size_t n = 0; n < columns; ++n) c[r * c_stride + n] += a[r * a_stride + i] * b[i * b_stride + n];
    }
  }
}

float exponentials(float* scores, const float* mask, std::size_t count) {
  for (std::size_t j = 0; j < count; ++j) scores[j] += mask[j];
  const float largest = *std::max_element(scores, scores + count);
  float sum = 0;
  for (std::size_t j = 0; j < count; ++j) sum += scores[j] = std::exp(scores[j] - largest);
  return sum;
}

}  // namespace

const AttentionKernels kAttentionF32_portable = {product, exponentials};

}  // namespace spartan
