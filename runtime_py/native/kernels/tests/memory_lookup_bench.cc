// Time of one memory on one thread, for every kernel set and form of this machine.
//   memory_lookup_bench [positions hidden parents cells top_k]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "cpu/features.h"
#include "memory_lookup/f32_kernels.h"
#include "memory_lookup/quantized_kernels.h"
#include "spartan/memory_lookup.h"

namespace {

// Best and median of many runs, in microseconds.
template <typename Call>
void report(const char* name, double macs, const Call& call) {
  std::vector<double> times;
  for (int i = 0; i < 300; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("%-28s best %8.1f us  median %8.1f us  %6.1f G needed multiply-adds/s\n", name, times.front(),
              times[times.size() / 2], macs / times.front() / 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int i, std::int64_t otherwise) { return i < argc ? std::atoll(argv[i]) : otherwise; };
  const std::int64_t positions = argument(1, 128);
  const spartan::MemoryShape shape{argument(2, 768), argument(3, 16), argument(4, 48), argument(5, 8)};
  if (const spartan::Status status = check(shape); status != spartan::Status::kOk || positions < 1) {
    std::fprintf(stderr, "%s\n", describe(status));
    return 2;
  }
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto filled = [&](std::int64_t count, float scale) {
    std::vector<float> v(static_cast<std::size_t>(count));
    for (float& value : v) value = normal(random) * scale;
    return v;
  };
  const std::int64_t h = shape.hidden;
  const auto x = filled(positions * h, 1.0f);
  const auto parents = filled(shape.parents * h, 0.05f);
  const auto keys = filled(shape.cells * h, 0.05f);
  const auto values = filled(shape.cells * h, 0.05f);
  const auto packed = filled((shape.parents + shape.cells + 15) / 16 * 16 * h, 0.05f);
  const auto packed_values = filled((h + 63) / 64 * 64 * shape.cells, 0.05f);
  std::vector<float> out(x.size());
  std::vector<char> scratch(scratch_bytes(shape));
  spartan::Epilogue epilogue;
  epilogue.residual = true;
  // What the definition needs: parents, and keys and values of the chosen cells.
  const double macs = static_cast<double>(positions * h) *
                      static_cast<double>(shape.parents + 2 * shape.top_k * (shape.cells / shape.parents));
#define SPARTAN_F32(enumerator, suffix)                                                                      \
  if (spartan::has_isa(spartan::Isa::enumerator)) {                                                            \
    const spartan::Isa isa = spartan::Isa::enumerator;                                                               \
    report("f32_" #suffix " rows", macs, [&] {                                                                       \
      memory_lookup_rows_f32(shape, {parents.data(), keys.data(), values.data(), 1.6f}, epilogue, x.data(), 0,       \
                             positions, out.data(), scratch.data(), scratch.size(), isa);                            \
    });                                                                                                              \
    report("f32_" #suffix " packed all", macs, [&] {                                                                 \
      memory_lookup_packed_f32(shape, {packed.data(), nullptr, packed_values.data()}, epilogue, x.data(), 0, positions,     \
                               out.data(), scratch.data(), scratch.size(), isa);                                     \
    });                                                                                                              \
    report("f32_" #suffix " packed parents", macs, [&] {                                                             \
      memory_lookup_packed_f32(shape, {packed.data(), keys.data(), values.data()}, epilogue, x.data(), 0, positions, \
                               out.data(), scratch.data(), scratch.size(), isa);                                     \
    });                                                                                                              \
  }
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32
  // Integers of any value cost the same.
  const auto bytes = [&](std::int64_t count) {
    std::vector<std::int8_t> v(static_cast<std::size_t>(count));
    for (std::int8_t& value : v) value = static_cast<std::int8_t>(random());
    return v;
  };
  const std::int64_t wide = (h + 63) / 64 * 64, columns = (shape.cells + 15) / 16 * 16;
  const auto key_cells = bytes(columns * wide), value_cells = bytes(columns * wide);
  const std::vector<float> scales(static_cast<std::size_t>(columns * ((h + 31) / 32)), 0.0003f);
  const auto* key_nibbles = reinterpret_cast<const std::uint8_t*>(key_cells.data());
  const auto* value_nibbles = reinterpret_cast<const std::uint8_t*>(value_cells.data());
  std::vector<char> scratch8(scratch_bytes(shape, spartan::Cells::kInt8));
  std::vector<char> scratch4(scratch_bytes(shape, spartan::Cells::kInt4));
#define SPARTAN_QUANTIZED(enumerator, f32_isa, suffix)                                                        \
  if (spartan::has_isa(spartan::Isa::enumerator)) {                                                             \
    const spartan::Isa isa = spartan::Isa::enumerator;                                                                \
    for (const bool rows : {false, true}) {                                                                           \
      report(rows ? "int8_" #suffix " rows" : "int8_" #suffix " packed", macs, [&] {                                  \
        memory_lookup_int8(shape,                                                                                     \
                           {packed.data(), key_cells.data(), scales.data(), value_cells.data(), scales.data(), rows}, \
                           epilogue, x.data(), 0, positions, out.data(), scratch8.data(), scratch8.size(), isa);      \
      });                                                                                                             \
      if (h % 32 != 0) continue;                                                                                      \
      report(rows ? "int4_" #suffix " rows" : "int4_" #suffix " packed", macs, [&] {                                  \
        memory_lookup_int4(shape, {packed.data(), key_nibbles, scales.data(), value_nibbles, scales.data(), rows},    \
                           epilogue, x.data(), 0, positions, out.data(), scratch4.data(), scratch4.size(), isa);      \
      });                                                                                                             \
    }                                                                                                                 \
  }
#include "memory_lookup/quantized_kernels.inc"
#undef SPARTAN_QUANTIZED
  return 0;
}
