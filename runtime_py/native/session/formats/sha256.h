// SHA-256 (FIPS 180-4).
#ifndef SPARTAN_FORMATS_SHA256_H
#define SPARTAN_FORMATS_SHA256_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace spartan {

class Sha256 {
 public:
  void update(const void* data, size_t size);
  // The digest of all that was given, as 64 lower-case hexadecimal digits; once, and nothing after it.
  std::string hex();

 private:
  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t block_[64];
  size_t held_ = 0;
  uint64_t total_ = 0;
};

std::string sha256_hex(const uint8_t* data, size_t size);

}  // namespace spartan
#endif
