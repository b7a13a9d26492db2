// Attention of one head in half precision, as processors bring it that compute in it. Internal to the library.
#pragma once

#include <cstddef>

#include "spartan/attention.h"

namespace spartan {

struct HalfAttention {
  std::size_t (*scratch_bytes)(const AttentionShape& shape);  // of the alignment of a cache line
  // Writes the head that begins at column `first` of q, k and v to the columns of `out` from `first` on, or says that
  // its numbers are not for half precision (`out` then holds anything). mask: of `length` numbers, padding included.
  bool (*head)(const AttentionShape& shape, const AttentionRows& rows, std::size_t first, const float* mask,
               std::size_t length, void* scratch, float* out, std::size_t out_stride);
};

#if defined(__aarch64__)
extern const HalfAttention kHalfAttention_neonhalf;
#endif

}  // namespace spartan
