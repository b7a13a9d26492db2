// Signatures of bundles: ECDSA over the curve P-256 with SHA-256. See runtime_py/signature.py for the formats.
#ifndef SPARTAN_FORMATS_SIGNATURE_H
#define SPARTAN_FORMATS_SIGNATURE_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace spartan {

// Whether `signature` (DER) is one of `data`, made with the private half of the key in the PEM file `key_path`.
//
// The arithmetic is OpenSSL's libcrypto, which the system brings and keeps up to date; it is loaded when this is called
// and not before. Throws CommandError where the key is none, and with exit code 5 where there is no libcrypto: what
// can't be checked is refused.
bool is_signed(const uint8_t* data, size_t size, const uint8_t* signature, size_t signature_size,
               const std::string& key_path);

}  // namespace spartan
#endif
