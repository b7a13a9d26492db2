// Times the int8 linear on every kernel that this machine has. Not a test: figures go to a person.
//   linear_int8_bench [rows] [inputs] [outputs] [layers] [threads] [gelu]
// As many layers of their own weights run in turn as a model has, so that weights come from where a model's come from.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "spartan/linear_int8.h"

int main(int argc, char** argv) {
  const auto argument = [&](int i, long otherwise) { return argc > i ? std::atol(argv[i]) : otherwise; };
  const spartan::LinearShape shape{argument(1, 128), argument(2, 768), argument(3, 768)};
  const long layers = argument(4, 12), threads = argument(5, 1);
  if (check(shape) != spartan::LinearStatus::kOk || layers < 1 || threads < 1) return 2;
  std::mt19937 random(1);
  const std::size_t layer_bytes = static_cast<std::size_t>((shape.outputs + 15) / 16 * ((shape.inputs + 63) / 64) * 1024);
  std::vector<std::int8_t> weights(layer_bytes * static_cast<std::size_t>(layers) + 64);
  for (auto& w : weights) w = static_cast<std::int8_t>(random());
  auto* aligned = reinterpret_cast<std::int8_t*>((reinterpret_cast<std::uintptr_t>(weights.data()) + 63) / 64 * 64);
  std::vector<float> scales(static_cast<std::size_t>(shape.outputs), 0.01f), x(static_cast<std::size_t>(shape.rows * shape.inputs));
  std::vector<std::int32_t> sums(static_cast<std::size_t>(shape.outputs), 5);
  std::normal_distribution<float> normal;
  for (float& v : x) v = normal(random);
  std::vector<float> out(static_cast<std::size_t>(shape.rows * shape.outputs));
  std::vector<char> scratch(linear_int8_scratch_bytes(shape));
  const std::int64_t units = linear_int8_units(shape);
  const double macs = static_cast<double>(shape.rows * shape.inputs) * static_cast<double>(shape.outputs * layers);
  for (const auto kernel : {spartan::Isa::kPortable, spartan::Isa::kAvx2, spartan::Isa::kAvxVnni,
                            spartan::Isa::kAvx512Vnni, spartan::Isa::kAmx}) {
    if (!has_linear_kernel(kernel)) continue;
    const auto work = [&](long thread) {
      for (long layer = 0; layer < layers; ++layer) {
        if (thread == 0) linear_int8_quantize(shape, x.data(), 0, shape.rows, scratch.data(), scratch.size(), kernel);
        linear_int8_multiply(shape,
                             {aligned + static_cast<std::size_t>(layer) * layer_bytes, scales.data(), sums.data(),
                              scales.data(), argument(6, 0) != 0},
                             scratch.data(), scratch.size(), units * thread / threads, units * (thread + 1) / threads,
                             out.data(), kernel);
      }
    };
    std::vector<double> times;
    for (int run = 0; run < 15; ++run) {
      const auto start = std::chrono::steady_clock::now();
      std::vector<std::thread> others;
      for (long t = 1; t < threads; ++t) others.emplace_back(work, t);
      work(0);
      for (auto& other : others) other.join();
      times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(times.begin(), times.end());
    std::printf("%-12s %8.3f ms (least %.3f) for %ld layers  %7.0f G multiply-adds/s  %5.1f GB/s of weights\n",
                isa_name(kernel), times[7] * 1e3, times[0] * 1e3, layers, macs / times[7] / 1e9,
                static_cast<double>(layer_bytes) * static_cast<double>(layers) / times[7] / 1e9);
  }
  return 0;
}
