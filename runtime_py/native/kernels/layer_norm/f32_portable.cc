// The definition, in plain C++.
#include <cmath>

#include "layer_norm/f32_kernels.h"

namespace spartan {

void add_layer_norm_f32_portable(const float* x, const float* residual, std::size_t rows, std::size_t hidden,
                                 const float* weight, const float* bias, float eps, float* out) {
  const float count = static_cast<float>(hidden);
  for (std::size_t r = 0; r < rows; ++r, x += hidden, out += hidden) {
    float sum = 0;
    for (std::size_t h = 0; h < hidden; ++h) {
      out[h] = residual != nullptr ? x[h] + residual[h] : x[h];
      sum += out[h];
    }
    const float mean = sum / count;
    float squares = 0;
    for (std::size_t h = 0; h < hidden; ++h) squares += (out[h] - mean) * (out[h] - mean);
    const float scale = 1.0f / std::sqrt(squares / count + eps);
    for (std::size_t h = 0; h < hidden; ++h) {
      out[h] = (out[h] - mean) * scale * weight[h];
      if (bias != nullptr) out[h] += bias[h];
    }
    if (residual != nullptr) residual += hidden;
  }
}

}  // namespace spartan
