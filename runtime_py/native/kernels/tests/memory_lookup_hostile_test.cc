// What no caller should ask for: sizes that overflow, null pointers, values that are no numbers. Every call returns, and
// nothing outside its buffers is touched; built with -fsanitize=address,undefined this says more.
#include <cfloat>
#include <cmath>
#include <limits>
#include <vector>

#include "spartan/memory_lookup.h"
#include "support.h"

namespace {

using namespace spartan;

constexpr std::int64_t kSizes[] = {0,       1,       2,         3,          16,        17,       31,         33,
                                   64,      65,      -1,        -64,        1 << 16,   1 << 20,  (1 << 20) + 1, 1LL << 31,
                                   1LL << 32, 1LL << 40, 1LL << 62, INT64_MAX, INT64_MIN, INT32_MAX};
constexpr float kValues[] = {0.0f, -0.0f, 1.0f, -1e-40f, 1e-45f, FLT_MIN, FLT_MAX, -FLT_MAX, 3e38f, INFINITY, -INFINITY, NAN};
constexpr Isa kIsas[] = {Isa::kBest, Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kNeon};

std::int64_t any_size(test::Random& random) { return kSizes[random() % std::size(kSizes)]; }

// A shape without one of its rules kept is refused by everything, whatever the pointers are.
void shapes(test::Random& random) {
  for (int i = 0; i < 20000; ++i) {
    const MemoryShape shape{any_size(random), any_size(random), any_size(random), any_size(random)};
    test::context = "shape " + std::to_string(shape.hidden) + " " + std::to_string(shape.parents) + " " +
                    std::to_string(shape.cells) + " " + std::to_string(shape.top_k);
    const bool sound = check(shape) == Status::kOk;
    for (const Cells cells : {Cells::kF32, Cells::kInt8, Cells::kInt4}) {
      CHECK((scratch_bytes(shape, cells) > 0) == sound);
    }
    const std::int64_t begin = any_size(random), end = any_size(random);
    if (begin == end) continue;  // nothing to do needs nothing
    float nothing = 0;
    // No scratch and null memories: none of these can work, and each has to say so.
    CHECK(memory_lookup_rows_f32(shape, {nullptr, nullptr, nullptr, 1.0f}, {}, &nothing, begin, end, &nothing, nullptr, 0) !=
          Status::kOk);
    CHECK(memory_lookup_packed_f32(shape, {nullptr, nullptr, nullptr}, {}, &nothing, begin, end, &nothing, nullptr, 0) !=
          Status::kOk);
    CHECK(memory_lookup_int8(shape, {nullptr, nullptr, nullptr, nullptr, nullptr, false}, {}, &nothing, begin, end, &nothing,
                             nullptr, 0) != Status::kOk);
    CHECK(memory_lookup_int4(shape, {nullptr, nullptr, nullptr, nullptr, nullptr, true}, {}, &nothing, begin, end, &nothing,
                             nullptr, 0) != Status::kOk);
  }
}

void fill(test::Random& random, test::Guarded<float>& buffer) {
  const bool wild = random() % 2 == 0;
  for (float& value : buffer) {
    value = wild || random() % 16 == 0 ? kValues[random() % std::size(kValues)] : test::normal(random);
  }
}

// Sound shapes with values that are none: every call ends well, and a position with sound input and a sound memory is
// not touched by its neighbours.
void values(test::Random& random) {
  for (int i = 0; i < 300; ++i) {
    const std::int64_t parents = static_cast<std::int64_t>(test::pick(random, 1, 20));
    const MemoryShape shape{static_cast<std::int64_t>(test::pick(random, 1, 130)), parents,
                            parents * static_cast<std::int64_t>(test::pick(random, 1, 5)),
                            static_cast<std::int64_t>(test::pick(random, 1, static_cast<std::size_t>(parents)))};
    const auto hidden = static_cast<std::size_t>(shape.hidden), cells = static_cast<std::size_t>(shape.cells);
    const std::size_t positions = test::pick(random, 1, 9);
    test::context = "values, round " + std::to_string(i);
    test::Guarded<float> x(positions * hidden), out(positions * hidden), parent_rows(static_cast<std::size_t>(parents) * hidden);
    test::Guarded<float> keys(cells * hidden), memory(cells * hidden), norm(hidden);
    for (auto* buffer : {&x, &parent_rows, &keys, &memory, &norm}) {
      fill(random, *buffer);
    }
    const std::size_t bytes = scratch_bytes(shape);
    test::Guarded<unsigned char> scratch(bytes);
    Epilogue epilogue;
    epilogue.residual = random() % 2 == 0;
    epilogue.norm_weight = random() % 2 == 0 ? norm.data() : nullptr;
    for (const Isa isa : kIsas) {
      for (const float temperature : {1.6f, 1e-45f, FLT_MAX, 0.0f, -1.0f, INFINITY, NAN}) {
        const Status status = memory_lookup_rows_f32(shape, {parent_rows.data(), keys.data(), memory.data(), temperature},
                                                     epilogue, x.data(), 0, static_cast<std::int64_t>(positions), out.data(),
                                                     scratch.data(), bytes, isa);
        CHECK(status == Status::kOk || status == Status::kNoSuchKernel ||
              (status == Status::kBadTemperature && !(temperature > 0 && std::isfinite(temperature))));
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  test::read_arguments(argc, argv);
  test::Random random(test::seed);
  shapes(random);
  values(random);
  std::printf("hostile input: tested\n");
  return test::failures == 0 ? 0 : 1;
}
