// Rows of token ids, or of a mask, as the session's interface takes them.
#ifndef SPARTAN_SESSION_ROWS_H
#define SPARTAN_SESSION_ROWS_H

#include <cstdint>
#include <vector>

#include "spartan/session.h"

namespace spartan {

// int64 [1, values]; a view, which `values` must outlive.
inline spartan_tensor row_tensor(const std::vector<int64_t>& values) {
  spartan_tensor tensor{};
  tensor.dtype = SPARTAN_INT64;
  tensor.rank = 2;
  tensor.sizes[0] = 1;
  tensor.sizes[1] = static_cast<int64_t>(values.size());
  tensor.data = values.data();
  tensor.bytes = values.size() * sizeof(int64_t);
  return tensor;
}

}  // namespace spartan
#endif
