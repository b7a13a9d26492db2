// libFuzzer's interface without libFuzzer, for compilers that have none: random inputs from a seed.
//
//     PROGRAM FILE [--count N] [--seed N]      FILE is what the harness needs, for example a compiled program
//
// Built with -DSPARTAN_LIBFUZZER and -fsanitize=fuzzer the same harness is libFuzzer's, with FILE in $SPARTAN_FUZZ_FILE.
#ifndef SPARTAN_SESSION_TESTS_DRIVER_H
#define SPARTAN_SESSION_TESTS_DRIVER_H

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace fuzz {

inline std::string file;

// Numbers out of an input; zeros when it is used up.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  uint8_t byte() {
    if (left_ == 0) {
      return 0;
    }
    --left_;
    return *data_++;
  }
  uint64_t word() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) {
      value = value << 8 | byte();
    }
    return value;
  }
  bool empty() const { return left_ == 0; }

  // Mostly small, sometimes where sizes break.
  int64_t size() {
    static const int64_t kEdges[] = {0, 1, -1, 24, 25, 127, 128, 1 << 16, INT32_MAX, INT64_MAX, INT64_MIN, 1LL << 40};
    const uint8_t kind = byte();
    return kind < 160 ? kind % 26 : kind < 250 ? kEdges[kind % std::size(kEdges)] : static_cast<int64_t>(word());
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

}  // namespace fuzz

#ifdef SPARTAN_LIBFUZZER
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* given = getenv("SPARTAN_FUZZ_FILE");
  fuzz::file = given == nullptr ? "" : given;
  return 0;
}
#else
int main(int argc, char** argv) {
  uint64_t count = 1000, seed = 2026;
  for (int i = 1; i < argc; ++i) {
    if (i + 1 < argc && strcmp(argv[i], "--count") == 0) {
      count = strtoull(argv[++i], nullptr, 10);
    } else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
      seed = strtoull(argv[++i], nullptr, 10);
    } else {
      fuzz::file = argv[i];
    }
  }
  std::vector<uint8_t> input;
  for (uint64_t number = 0; number < count; ++number) {
    std::mt19937_64 random(seed * 1000003 + number);
    input.resize(8 + random() % 500);
    for (uint8_t& byte : input) {
      byte = static_cast<uint8_t>(random());
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  printf("%llu inputs of seed %llu\n", static_cast<unsigned long long>(count), static_cast<unsigned long long>(seed));
  return 0;
}
#endif
#endif
