// SHA-256 (FIPS 180-4).
#ifndef SPARTAN_SESSION_SHA256_H
#define SPARTAN_SESSION_SHA256_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace spartan {

// The digest of `size` bytes as 64 lower-case hexadecimal digits.
std::string sha256_hex(const uint8_t* data, size_t size);

}  // namespace spartan
#endif
