// What each instruction set brings: LayerNorm of consecutive rows. Internal to the library.
#pragma once

#include <cstddef>

#include "spartan/layer_norm.h"

namespace spartan {

// rows of `hidden` numbers; residual and bias may be null.
using AddLayerNormF32 = void (*)(const float* x, const float* residual, std::size_t rows, std::size_t hidden,
                                 const float* weight, const float* bias, float eps, float* out);

#define SPARTAN_LAYER_NORM(isa, suffix)                                                                   \
  void add_layer_norm_f32_##suffix(const float* x, const float* residual, std::size_t rows, std::size_t hidden, \
                                   const float* weight, const float* bias, float eps, float* out);
#include "layer_norm/f32_kernels.inc"
#undef SPARTAN_LAYER_NORM

}  // namespace spartan
