#include "attention/relative.h"

#include <algorithm>

namespace spartan {
namespace {

std::size_t size_of(std::int64_t count) { return static_cast<std::size_t>(count); }

// How far apart the rows of one product's result lie: queries are no more than positions.
std::size_t product_width(const AttentionShape& shape) {
  return padded_columns(size_of(shape.positions) + kAttentionRows - 1);
}

// The table's column of the smallest distance that rows [begin, begin + count) meet: that of the last one and 0. Not
// below the first, as no row lies at or beyond the reach; what is read behind the last distance is within the stride.
const float* columns(const float* table, const RelativePositions& relative, std::size_t first, std::size_t begin,
                     std::size_t count) {
  return table + first * size_of(relative.stride) + size_of(relative.reach) - (begin + count);
}

}  // namespace

std::size_t relative_scratch(const AttentionShape& shape) {
  const std::size_t square = size_of(shape.queries) * padded_columns(size_of(shape.positions));
  return square + kAttentionRows * product_width(shape);
}

void key_scores(const AttentionKernels& kernels, const AttentionShape& shape, const AttentionRows& rows,
                std::size_t first, float* scratch) {
  const RelativePositions& relative = *rows.relative;
  if (relative.to_queries == nullptr) return;
  const std::size_t positions = size_of(shape.positions), queries = size_of(shape.queries);
  const std::size_t length = padded_columns(positions), width = product_width(shape), k_stride = size_of(rows.kv_stride);
  float* product = scratch + queries * length;
  for (std::size_t j = 0; j < positions; j += kAttentionRows) {
    const std::size_t count = std::min(kAttentionRows, positions - j);
    kernels.product(rows.k + j * k_stride + first, k_stride, count, columns(relative.to_queries, relative, first, j, count),
                    size_of(relative.stride), size_of(shape.head_size), padded_columns(queries + count - 1), product, width);
    for (std::size_t i = 0; i < queries; ++i) {
      float* target = scratch + i * length + j;
      const float* source = product + i + count - 1;
      for (std::size_t r = 0; r < count; ++r) target[r] = source[r * width - r];
    }
  }
}

void add_distances(const AttentionKernels& kernels, const AttentionShape& shape, const AttentionRows& rows,
                   std::size_t first, std::size_t begin, std::size_t count, float* scratch, float* scores,
                   std::size_t stride) {
  const RelativePositions& relative = *rows.relative;
  const std::size_t positions = size_of(shape.positions), length = padded_columns(positions);
  const std::size_t width = product_width(shape), q_stride = size_of(rows.q_stride);
  float* product = scratch + size_of(shape.queries) * length;
  if (relative.to_keys != nullptr) {
    kernels.product(rows.q + begin * q_stride + first, q_stride, count,
                    columns(relative.to_keys, relative, first, begin, count), size_of(relative.stride),
                    size_of(shape.head_size), padded_columns(positions + count - 1), product, width);
  }
  for (std::size_t r = 0; r < count; ++r) {
    float* target = scores + r * stride;
    if (rows.mask != nullptr && rows.mask[begin + r] != 0.0f) {
      for (std::size_t j = 0; j < positions; ++j) target[j] = -rows.mask[j];
      continue;
    }
    if (relative.to_keys != nullptr) {
      const float* source = product + r * width + count - 1 - r;
      for (std::size_t j = 0; j < positions; ++j) target[j] += source[j];
    }
    if (relative.to_queries != nullptr) {
      const float* source = scratch + (begin + r) * length;
      for (std::size_t j = 0; j < positions; ++j) target[j] += source[j];
    }
  }
}

}  // namespace spartan
