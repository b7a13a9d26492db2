#include "signature.h"

#include <dlfcn.h>

#include <array>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "error.h"
#include "mapped_file.h"

namespace spartan {

namespace {

constexpr size_t kKeyFileLimit = 4096;
constexpr size_t kKeySize = 91;
// RFC 5480: id-ecPublicKey on secp256r1, then the point as 4 and two numbers of 32 bytes.
constexpr uint8_t kKeyHead[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
                                0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};

// The part of libcrypto's interface that is used here, which is the same from 1.1.1 to 3: manual page
// EVP_DigestVerifyInit(3), d2i_PUBKEY(3). Its headers are not needed, and neither is it at build time.
class Crypto {
 public:
  Crypto() {
    for (const char* name : {"libcrypto.so.3", "libcrypto.so.1.1"}) {
      library_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (library_ != nullptr) {
        break;
      }
    }
    if (library_ == nullptr) {
      throw CommandError(
          "a signature was asked for, and there is no libcrypto (OpenSSL 1.1 or 3) here to check it with; nothing was "
          "loaded",
          kExitMissing);
    }
    find("d2i_PUBKEY", &d2i_PUBKEY);
    find("EVP_PKEY_free", &EVP_PKEY_free);
    find("EVP_MD_CTX_new", &EVP_MD_CTX_new);
    find("EVP_MD_CTX_free", &EVP_MD_CTX_free);
    find("EVP_sha256", &EVP_sha256);
    find("EVP_DigestVerifyInit", &EVP_DigestVerifyInit);
    find("EVP_DigestVerify", &EVP_DigestVerify);
  }

  void* (*d2i_PUBKEY)(void**, const unsigned char**, long) = nullptr;
  void (*EVP_PKEY_free)(void*) = nullptr;
  void* (*EVP_MD_CTX_new)() = nullptr;
  void (*EVP_MD_CTX_free)(void*) = nullptr;
  const void* (*EVP_sha256)() = nullptr;
  int (*EVP_DigestVerifyInit)(void*, void**, const void*, void*, void*) = nullptr;
  int (*EVP_DigestVerify)(void*, const unsigned char*, size_t, const unsigned char*, size_t) = nullptr;

 private:
  template <typename Function>
  void find(const char* name, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(library_, name));
    if (*function == nullptr) {
      throw CommandError(std::string("this system's libcrypto has no `") + name + "`; nothing was loaded", kExitMissing);
    }
  }

  void* library_ = nullptr;  // stays loaded: unloading OpenSSL is not supported by it
};

int base64_digit(char c) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const size_t at = kDigits.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The bytes of the public key, of the one form that is taken.
std::array<uint8_t, kKeySize> read_key(const std::string& path) {
  constexpr std::string_view kHead = "-----BEGIN PUBLIC KEY-----";
  constexpr std::string_view kTail = "-----END PUBLIC KEY-----";
  const MappedFile file(path);
  if (file.size() > kKeyFileLimit) {
    throw CommandError("`" + path + "` is too large for a key");
  }
  std::string_view text = trimmed({reinterpret_cast<const char*>(file.data()), file.size()});
  if (text.size() < kHead.size() + kTail.size() || text.substr(0, kHead.size()) != kHead ||
      text.substr(text.size() - kTail.size()) != kTail) {
    throw CommandError("`" + path + "` is not a public key in a PEM file");
  }
  text = text.substr(kHead.size(), text.size() - kHead.size() - kTail.size());
  std::array<uint8_t, kKeySize> key{};
  size_t bytes = 0, padding = 0;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      continue;
    }
    const int digit = base64_digit(c);
    if (c == '=') {
      ++padding;
    } else if (digit < 0 || padding > 0 || bytes == kKeySize) {
      throw CommandError("the public key `" + path + "` is not of the curve P-256");
    } else {
      bits = bits << 6 | static_cast<uint32_t>(digit);
      count += 6;
      if (count >= 8) {
        count -= 8;
        key[bytes++] = static_cast<uint8_t>(bits >> count);
      }
    }
  }
  // 91 bytes are 121 digits and 4 bits, then two signs of padding.
  if (bytes != kKeySize || padding != 2 || (bits & ((1u << count) - 1)) != 0 ||
      memcmp(key.data(), kKeyHead, sizeof kKeyHead) != 0) {
    throw CommandError("the public key `" + path + "` is not of the curve P-256");
  }
  return key;
}

}  // namespace

bool is_signed(const uint8_t* data, size_t size, const uint8_t* signature, size_t signature_size,
               const std::string& key_path) {
  const std::array<uint8_t, kKeySize> der = read_key(key_path);
  const Crypto crypto;
  const unsigned char* at = der.data();
  const std::unique_ptr<void, void (*)(void*)> key(crypto.d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())),
                                                   crypto.EVP_PKEY_free);
  if (key == nullptr) {
    throw CommandError("the public key `" + key_path + "` is no point of the curve P-256");
  }
  const std::unique_ptr<void, void (*)(void*)> context(crypto.EVP_MD_CTX_new(), crypto.EVP_MD_CTX_free);
  return context != nullptr &&
         crypto.EVP_DigestVerifyInit(context.get(), nullptr, crypto.EVP_sha256(), nullptr, key.get()) == 1 &&
         crypto.EVP_DigestVerify(context.get(), signature, signature_size, data, size) == 1;
}

}  // namespace spartan
