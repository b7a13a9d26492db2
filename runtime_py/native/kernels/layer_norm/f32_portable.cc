// The definition, in plain C++. Sums are in double: the mean of equal numbers is then that number, up to 2^29 of them,
// where in float it is a rounding off, which is all that is left of a level row.
#include <cmath>

#include "layer_norm/f32_kernels.h"

namespace spartan {

void add_layer_norm_f32_portable(const float* x, const float* residual, std::size_t rows, std::size_t hidden,
                                 const float* weight, const float* bias, float eps, float* out) {
  const double count = static_cast<double>(hidden);
  for (std::size_t r = 0; r < rows; ++r, x += hidden, out += hidden) {
    double sum = 0;
    for (std::size_t h = 0; h < hidden; ++h) {
      out[h] = residual != nullptr ? x[h] + residual[h] : x[h];
      sum += out[h];
    }
    const double mean = sum / count;
    double squares = 0;
    for (std::size_t h = 0; h < hidden; ++h) squares += (out[h] - mean) * (out[h] - mean);
    const double scale = 1 / std::sqrt(squares / count + eps);
    for (std::size_t h = 0; h < hidden; ++h) {
      out[h] = static_cast<float>((out[h] - mean) * scale) * weight[h];
      if (bias != nullptr) out[h] += bias[h];
    }
    if (residual != nullptr) residual += hidden;
  }
}

}  // namespace spartan
