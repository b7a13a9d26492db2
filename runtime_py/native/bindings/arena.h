// Scratch of the thread that works, for all operators: grown on first use and kept, never used beyond one call.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace spartan {

// Null where there is no memory.
inline char* arena(std::size_t bytes) {
  thread_local std::unique_ptr<char[]> memory;
  thread_local std::size_t size = 0;
  if (size < bytes) {
    memory.reset(new (std::nothrow) char[bytes]);
    size = memory ? bytes : 0;
  }
  return memory.get();
}

}  // namespace spartan
