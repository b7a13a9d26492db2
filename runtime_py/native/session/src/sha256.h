// SHA-256 (FIPS 180-4).
#ifndef SPARTAN_SESSION_SHA256_H
#define SPARTAN_SESSION_SHA256_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace spartan {

// The digest of `size` bytes as 64 lower-case hexadecimal digits.
std::string sha256_hex(const uint8_t* data, size_t size);
// The same, with the bytes [begin, end) taken for "0": of a file that holds its own digest there.
std::string sha256_hex_blanked(const uint8_t* data, size_t size, size_t begin, size_t end);

}  // namespace spartan
#endif
