// Checks and scratch layout shared by the forms of the memory lookup. Internal.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spartan/memory_lookup.h"

namespace spartan {

// Hands out 64-byte aligned parts of a scratch buffer, or only counts where the buffer is null.
class ScratchLayout {
 public:
  explicit ScratchLayout(void* scratch) : base_(reinterpret_cast<std::uintptr_t>(scratch)) {
    next_ = base_ == 0 ? 0 : (base_ + kAlignment - 1) / kAlignment * kAlignment;
    start_ = next_;
  }

  template <typename T>
  T* take(std::size_t count) {
    T* part = base_ == 0 ? nullptr : reinterpret_cast<T*>(next_);
    next_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  }

  // Bytes that a buffer of any alignment needs for all that was taken.
  std::size_t bytes() const { return next_ - start_ + kAlignment; }

 private:
  static constexpr std::uintptr_t kAlignment = 64;
  std::uintptr_t base_;
  std::uintptr_t start_;
  std::uintptr_t next_;
};

// Everything that is common to all entry points, the memory's own tensors excepted.
Status check_call(const MemoryShape& shape, const Epilogue& epilogue, const float* x, std::int64_t begin,
                  std::int64_t end, const float* out);

}  // namespace spartan
