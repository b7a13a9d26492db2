// What the kernel tests share: guarded buffers, reproducible random numbers, failures that say how to repeat them.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cpu/features.h"
#include "spartan/isa.h"

namespace test {

inline int failures = 0;
inline std::uint64_t seed = 20221130;
inline std::uint64_t share = 1;  // of the shapes, one in so many is tried: for emulated processors
inline std::string context;      // what is being tested, for messages

__attribute__((format(printf, 1, 2))) inline void fail(const char* format, ...) {
  ++failures;
  if (failures > 20) {
    std::fprintf(stderr, "too many failures\n");
    std::exit(1);
  }
  std::fprintf(stderr, "FAILED %s: ", context.c_str());
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\n  rerun with: --seed %" PRIu64 " --share %" PRIu64 "\n", seed, share);
}

#define CHECK(condition) \
  do {                   \
    if (!(condition)) ::test::fail("%s:%d: %s", __FILE__, __LINE__, #condition); \
  } while (false)

// A buffer whose last byte lies against an unreadable page, so that any access past the end ends the process, with a
// pattern in front of it that is checked on destruction. Its start has the alignment of the element only.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::size_t count) : count_(count) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t body = (count * sizeof(T) + kFront + page - 1) / page * page;
    bytes_ = body + page;
    base_ = static_cast<unsigned char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + body, page, PROT_NONE) != 0) {
      std::perror("guarded buffer");
      std::exit(1);
    }
    data_ = reinterpret_cast<T*>(base_ + body) - count;
    front_ = static_cast<std::size_t>(reinterpret_cast<unsigned char*>(data_) - base_);
    std::memset(base_, kPattern, front_);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() {
    for (std::size_t i = 0; i < front_; ++i) {
      if (base_[i] != kPattern) {
        fail("a byte %zu in front of a buffer was overwritten", front_ - i);
        break;
      }
    }
    munmap(base_, bytes_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + count_; }

 private:
  static constexpr std::size_t kFront = 64;
  static constexpr unsigned char kPattern = 0xa5;
  std::size_t count_;
  std::size_t bytes_;
  std::size_t front_;
  unsigned char* base_;
  T* data_;
};

using Random = std::mt19937_64;

inline std::size_t pick(Random& random, std::size_t low, std::size_t high) {
  return low + static_cast<std::size_t>(random() % (high - low + 1));
}

// Roughly normal, from integers only: the same numbers with every standard library.
inline float normal(Random& random) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<double>(random() >> 11) * 0x1p-53;
  return static_cast<float>((sum - 2.0) * 1.7320508075688772);
}

inline void fill_normal(Random& random, float* data, std::size_t count, double scale) {
  for (std::size_t i = 0; i < count; ++i) data[i] = static_cast<float>(normal(random) * scale);
}

inline void read_arguments(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--seed") == 0) seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--share") == 0) share = std::strtoull(argv[i + 1], nullptr, 10);
  }
}

// Calls `test_isa` for every instruction set of fp32 loops that `has` says is here.
template <typename Has, typename Test>
void each_f32_isa(const char* family, const Has& has, const Test& test_isa) {
  using spartan::Isa;
  int vector_kernels = 0;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kNeon}) {
    if (!has(isa)) {
      std::printf("skipped: %s, which this processor has not\n", isa_name(isa));
      continue;
    }
    if (isa != Isa::kPortable) ++vector_kernels;
    test_isa(isa);
    std::printf("%s, %s: tested\n", family, isa_name(isa));
  }
  // Every processor that we build for has vectors: a run without them tested nothing that ships.
  context = "instruction sets";
#if defined(__aarch64__)
  CHECK(vector_kernels == 1);
#else
  if (spartan::cpu_features() & spartan::kCpuAvx2Fma) CHECK(vector_kernels >= 1);
#endif
}

}  // namespace test
