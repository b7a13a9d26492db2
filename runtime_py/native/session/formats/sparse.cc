#include "sparse.h"

#include <algorithm>
#include <cstring>

#include "error.h"

namespace spartan {

namespace {

constexpr size_t kAlignment = 64;

size_t bits_of(const uint8_t* mask, size_t bytes) {
  size_t bits = 0;
  for (size_t i = 0; i < bytes; ++i) {
    bits += static_cast<size_t>(__builtin_popcount(mask[i]));
  }
  return bits;
}

}  // namespace

AlignedBytes with_zeros(const uint8_t* stored, size_t bytes, size_t count, const std::string& what) {
  const size_t mask_bytes = (count + 7) / 8;
  if (mask_bytes > bytes) {
    throw CommandError(what + " is too short for the mask of " + std::to_string(count) + " numbers");
  }
  if (count % 8 != 0 && stored[mask_bytes - 1] >> count % 8 != 0) {
    throw CommandError(what + " has a mask with bits beyond its " + std::to_string(count) + " numbers");
  }
  const size_t end = mask_bytes + bits_of(stored, mask_bytes);
  const size_t padded = (end + kAlignment - 1) / kAlignment * kAlignment;
  const bool fits = padded == bytes && std::all_of(stored + end, stored + bytes, [](uint8_t byte) { return byte == 0; });
  if (!fits) {
    throw CommandError(what + " has " + std::to_string(bytes) + " bytes, its mask asks for " + std::to_string(end) +
                       ", filled up with zeros to " + std::to_string(padded));
  }
  const uint8_t* next = stored + mask_bytes;
  if (memchr(next, 0, end - mask_bytes) != nullptr) {
    throw CommandError(what + " holds a zero that its mask says is not one");
  }
  AlignedBytes numbers(static_cast<uint8_t*>(::operator new(count, std::align_val_t{kAlignment})));
  memset(numbers.get(), 0, count);
  for (size_t i = 0; i < mask_bytes; ++i) {
    for (unsigned left = stored[i]; left != 0; left &= left - 1) {
      numbers.get()[8 * i + static_cast<size_t>(__builtin_ctz(left))] = *next++;
    }
  }
  return numbers;
}

}  // namespace spartan
