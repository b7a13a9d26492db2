// The loops of attention that each instruction set brings. Internal to the library.
#pragma once

#include <algorithm>
#include <cstddef>

#include "spartan/attention.h"

namespace spartan {

constexpr std::size_t kAttentionPad = 16;  // scratch rows are multiples of this, so that no loop has a tail
constexpr std::size_t kAttentionRows = 12;  // queries at work at a time
constexpr std::size_t padded_columns(std::size_t count) {
  return (count + kAttentionPad - 1) / kAttentionPad * kAttentionPad;
}

// The columns that `count` queries from `query` on look at between them: multiples of kAttentionPad, as `length` is.
struct Columns {
  std::size_t begin, end;

  Columns(std::size_t query, std::size_t count, std::size_t window, std::size_t length)
      : begin(query > window ? (query - window) / kAttentionPad * kAttentionPad : 0),
        end(std::min(length, padded_columns(query + count + window))) {}

  // `value` for all of them that lie beyond a query's window. row: begins with the column `begin`.
  template <class T>
  void fill_beyond(std::size_t query, std::size_t window, T* row, T value) const {
    if (query > begin + window) std::fill_n(row, query - window - begin, value);
    const std::size_t behind = query + window + 1;
    if (behind < end) std::fill(row + (behind - begin), row + (end - begin), value);
  }
};

struct AttentionKernels {
  // c[r][n] = sum over i < depth of a[r * a_stride + i] * b[i * b_stride + n], r < rows <= kAttentionRows and
  // n < columns, a multiple of kAttentionPad.
  void (*product)(const float* a, std::size_t a_stride, std::size_t rows, const float* b, std::size_t b_stride,
                  std::size_t depth, std::size_t columns, float* c, std::size_t c_stride);
  // scores[j] = exp(scores[j] + mask[j] - the largest of them); returns their sum. count is a multiple of
  // kAttentionPad; a mask of minus infinity takes padding out.
  float (*exponentials)(float* scores, const float* mask, std::size_t count);
};

#define SPARTAN_ATTENTION(isa, suffix) extern const AttentionKernels kAttentionF32_##suffix;
#include "attention/f32_kernels.inc"
#undef SPARTAN_ATTENTION

}  // namespace spartan
