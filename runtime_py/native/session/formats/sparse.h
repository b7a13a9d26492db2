// Int8 tensors that are stored without their zeros: docs/formats/task.md, Sparse tensors.
#ifndef SPARTAN_FORMATS_SPARSE_H
#define SPARTAN_FORMATS_SPARSE_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

namespace spartan {

// Bytes that begin where a cache line does, as those of a mapped file's tensors.
struct AlignedDelete {
  void operator()(uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t{64}); }
};
using AlignedBytes = std::unique_ptr<uint8_t, AlignedDelete>;

// The `count` int8 numbers, at least 1, that `stored` is of. CommandError, beginning with `what`, where it is of none.
AlignedBytes with_zeros(const uint8_t* stored, size_t bytes, size_t count, const std::string& what);

}  // namespace spartan
#endif
