// The definition of the fp32 loops, in plain C++.
#include <cmath>

#include "memory_lookup/f32_kernels.h"

namespace spartan {
namespace {

void logits(const float* x, std::size_t positions, std::size_t hidden, const float* weights, std::size_t blocks,
            float* out, std::size_t out_stride) {
  for (std::size_t p = 0; p < positions; ++p) {
    for (std::size_t b = 0; b < blocks; ++b) {
      float sum[kBlockColumns] = {};
      for (std::size_t h = 0; h < hidden; ++h) {
        const float* column = weights + (b * hidden + h) * kBlockColumns;
        for (std::size_t j = 0; j < kBlockColumns; ++j) sum[j] += x[p * hidden + h] * column[j];
      }
      for (std::size_t j = 0; j < kBlockColumns; ++j) out[p * out_stride + b * kBlockColumns + j] = sum[j];
    }
  }
}

void dots(const float* const* x, std::size_t positions, const float* rows, std::size_t row_count, std::size_t hidden,
          float* out, std::size_t out_stride) {
  for (std::size_t p = 0; p < positions; ++p) {
    for (std::size_t r = 0; r < row_count; ++r) {
      float sum = 0;
      for (std::size_t h = 0; h < hidden; ++h) sum += x[p][h] * rows[r * hidden + h];
      out[p * out_stride + r] = sum;
    }
  }
}

void weighted_rows(const float* values, const std::size_t* offsets, const float* weights, std::size_t weight_stride,
                   std::size_t count, const float* addend, std::size_t positions, std::size_t hidden, float* out) {
  for (std::size_t p = 0; p < positions; ++p) {
    for (std::size_t h = 0; h < hidden; ++h) {
      float sum = 0;
      for (std::size_t i = 0; i < count; ++i) {
        sum += weights[p * weight_stride + i] * values[offsets[p * count + i] + h];
      }
      out[p * hidden + h] = addend != nullptr ? addend[p * hidden + h] + sum : sum;
    }
  }
}

void weighted_blocks(const float* values, std::size_t block_stride, const std::size_t* offsets, const float* weights,
                     std::size_t weight_stride, std::size_t count, const float* addend, std::size_t positions,
                     std::size_t hidden, float* out) {
  for (std::size_t p = 0; p < positions; ++p) {
    for (std::size_t h = 0; h < hidden; ++h) {
      const float* block = values + h / kValueColumns * block_stride + h % kValueColumns;
      float sum = 0;
      for (std::size_t i = 0; i < count; ++i) sum += weights[p * weight_stride + i] * block[offsets[p * count + i]];
      out[p * hidden + h] = addend != nullptr ? addend[p * hidden + h] + sum : sum;
    }
  }
}

void exp_nonpositive(float* v, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) v[i] = std::exp(v[i]);
}

#include "memory_lookup/select.inl"

}  // namespace

const F32Kernels kMemoryLookupF32_portable = {
    logits,          dots,
    weighted_rows,   weighted_blocks,
    exp_nonpositive, add_layer_norm_f32_portable,
    select_largest, shift_logits,
    weights_of_chosen};

}  // namespace spartan
