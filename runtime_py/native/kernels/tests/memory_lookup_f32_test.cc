// fp32 memory lookup: every kernel set of this machine against float64, over shapes, forms and hostile values.
#include <cmath>

#include "cpu/features.h"
#include "memory_lookup/f32_kernels.h"
#include "reference.h"
#include "spartan/memory_lookup.h"
#include "support.h"

namespace {

using spartan::Epilogue;
using spartan::Isa;
using spartan::MemoryShape;
using spartan::Status;
using test::Guarded;
using test::Random;

enum class Form { kRows, kPackedAll, kPackedParents };
const char* const kFormNames[] = {"rows", "packed all", "packed parents"};

struct Memory {
  Memory(Random& random, const MemoryShape& s)
      : shape(s),
        parents(size(s.parents, s.hidden)),
        keys(size(s.cells, s.hidden)),
        scaled_keys(size(s.cells, s.hidden)),
        values(size(s.cells, s.hidden)),
        packed_all(size((s.parents + s.cells + 15) / 16, s.hidden * 16)),
        packed_parents(size((s.parents + 15) / 16, s.hidden * 16)),
        packed_values(size((s.hidden + 63) / 64, s.cells * 64)),
        norm_weight(size(1, s.hidden)),
        norm_bias(size(1, s.hidden)) {
    const double scale = 1.5 / std::sqrt(static_cast<double>(s.hidden));
    test::fill_normal(random, parents.data(), parents.size(), scale);
    test::fill_normal(random, keys.data(), keys.size(), scale);
    test::fill_normal(random, values.data(), values.size(), 1.0);
    test::fill_normal(random, norm_weight.data(), norm_weight.size(), 1.0);
    test::fill_normal(random, norm_bias.data(), norm_bias.size(), 1.0);
    pack();
  }

  static std::size_t size(std::int64_t rows, std::int64_t columns) { return static_cast<std::size_t>(rows * columns); }

  void pack() {
    const auto hidden = static_cast<std::size_t>(shape.hidden);
    const auto parent_count = static_cast<std::size_t>(shape.parents);
    for (std::size_t i = 0; i < keys.size(); ++i) scaled_keys[i] = keys[i] / temperature;
    std::fill(packed_all.begin(), packed_all.end(), 0.0f);
    std::fill(packed_parents.begin(), packed_parents.end(), 0.0f);
    std::fill(packed_values.begin(), packed_values.end(), 0.0f);
    const auto cells = static_cast<std::size_t>(shape.cells);
    const std::size_t children = cells / parent_count;
    for (std::size_t h = 0; h < hidden; ++h) {
      for (std::size_t e = 0; e < parent_count; ++e) {
        const std::size_t at = (e / 16 * hidden + h) * 16 + e % 16;
        packed_all[at] = packed_parents[at] = parents[e * hidden + h];
        for (std::size_t c = 0; c < children; ++c) {
          const std::size_t n = parent_count + c * parent_count + e;
          packed_all[(n / 16 * hidden + h) * 16 + n % 16] = scaled_keys[(e * children + c) * hidden + h];
        }
      }
      for (std::size_t m = 0; m < cells; ++m) packed_values[(h / 64 * cells + m) * 64 + h % 64] = values[m * hidden + h];
    }
  }

  Status run(Form form, const Epilogue& epilogue, const float* x, std::int64_t begin, std::int64_t end, float* out,
             void* scratch, std::size_t scratch_size, Isa isa) const {
    if (form == Form::kRows) {
      return memory_lookup_rows_f32(shape, {parents.data(), keys.data(), values.data(), temperature}, epilogue, x, begin,
                                    end, out, scratch, scratch_size, isa);
    }
    const bool all = form == Form::kPackedAll;
    return memory_lookup_packed_f32(
        shape,
        {all ? packed_all.data() : packed_parents.data(), all ? nullptr : scaled_keys.data(),
         all ? packed_values.data() : values.data()},
        epilogue, x, begin, end, out, scratch, scratch_size, isa);
  }

  MemoryShape shape;
  Guarded<float> parents, keys, scaled_keys, values, packed_all, packed_parents, packed_values, norm_weight, norm_bias;
  float temperature = 1.6f;
};

std::string name(const MemoryShape& s, std::size_t positions, Isa isa, Form form, int epilogue) {
  char text[160];
  std::snprintf(text, sizeof text, "%s, %s, H=%d E=%d M=%d K=%d positions=%zu epilogue=%d", isa_name(isa),
                kFormNames[static_cast<int>(form)], static_cast<int>(s.hidden), static_cast<int>(s.parents),
                static_cast<int>(s.cells), static_cast<int>(s.top_k), positions, epilogue);
  return text;
}

std::size_t compared = 0;
std::size_t unclear = 0;

void compare_with_reference(const Memory& memory, Isa isa, Form form, std::size_t positions, Random& random) {
  const auto hidden = static_cast<std::size_t>(memory.shape.hidden);
  Guarded<float> x(positions * hidden);
  Guarded<float> out(positions * hidden);
  Guarded<char> scratch(scratch_bytes(memory.shape));
  test::fill_normal(random, x.data(), x.size(), 1.0);
  const int choice = static_cast<int>(random() % 5);
  Epilogue epilogue;
  epilogue.residual = choice != 0 && choice != 4;
  if (choice >= 2) epilogue.norm_weight = memory.norm_weight.data();
  if (choice >= 3) epilogue.norm_bias = memory.norm_bias.data();
  test::context = name(memory.shape, positions, isa, form, choice);
  const auto run = [&](std::size_t begin, std::size_t end, float* target) {
    const Status status = memory.run(form, epilogue, x.data(), static_cast<std::int64_t>(begin),
                                     static_cast<std::int64_t>(end), target, scratch.data(), scratch.size(), isa);
    if (status != Status::kOk) test::fail("status: %s", describe(status));
  };
  run(0, positions, out.data());

  std::vector<double> parents(memory.parents.data(), memory.parents.data() + memory.parents.size());
  std::vector<double> keys(memory.keys.data(), memory.keys.data() + memory.keys.size());
  for (double& key : keys) key /= memory.temperature;
  std::vector<double> values(memory.values.data(), memory.values.data() + memory.values.size());
  // Every position where there are few; a sample of them in large cases.
  const std::size_t step = positions * keys.size() > (1u << 21) ? 7 : 1;
  for (std::size_t p = 0; p < positions; p += step) {
    const test::Reference expected = test::reference_lookup(memory.shape, x.data() + p * hidden, parents.data(),
                                                            keys.data(), values.data(), epilogue);
    ++compared;
    if (!expected.selection_is_clear) {
      ++unclear;
      continue;
    }
    for (std::size_t h = 0; h < hidden; ++h) {
      const double difference = std::fabs(out[p * hidden + h] - expected.out[h]);
      if (!(difference <= expected.tolerance[h])) {
        test::fail("position %zu, h %zu: got %.9g, expected %.9g, off by %.3g, allowed %.3g", p, h,
                   static_cast<double>(out[p * hidden + h]), expected.out[h], difference, expected.tolerance[h]);
        return;
      }
    }
  }

  // Split over ranges, in place: the same bits, and rows outside the range stay as they are.
  const std::size_t cut = test::pick(random, 0, positions);
  Guarded<float> split(positions * hidden);
  std::memcpy(split.data(), x.data(), x.size() * sizeof(float));
  const auto run_in_place = [&](std::size_t begin, std::size_t end) {
    const Status status = memory.run(form, epilogue, split.data(), static_cast<std::int64_t>(begin),
                                     static_cast<std::int64_t>(end), split.data(), scratch.data(), scratch.size(), isa);
    CHECK(status == Status::kOk);
  };
  run_in_place(cut, positions);
  CHECK(std::memcmp(split.data(), x.data(), cut * hidden * sizeof(float)) == 0);
  run_in_place(0, cut);
  CHECK(std::memcmp(split.data(), out.data(), out.size() * sizeof(float)) == 0);
}

void test_shapes(Isa isa) {
  Random random(test::seed);
  struct Sizes { std::int64_t parents, children, top_k; };
  const Sizes memories[] = {{1, 1, 1},  {2, 1, 1},  {3, 2, 3},   {16, 3, 8},  {16, 3, 1},   {16, 3, 16}, {16, 1, 8},
                            {8, 8, 4},  {5, 48, 2}, {15, 4, 7},  {17, 2, 16}, {31, 1, 30},  {32, 3, 8},  {33, 1, 7},
                            {64, 2, 33}, {1, 65, 1}, {100, 1, 100}, {4, 70, 3}};
  const std::int64_t hidden[] = {1,  2,  3,  4,  5,   7,   8,   9,   15,  16,  17,  31,  32,  33,  63,  64,
                                 65, 96, 127, 128, 129, 255, 256, 257, 383, 384, 385, 513};
  const std::size_t positions[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 17, 31, 64, 65};
  for (const std::int64_t h : hidden) {
    for (const Sizes& sizes : memories) {
      // Two thirds of the combinations of wide rows are left to other seeds.
      if (random() % ((h > 64 ? 3 : 1) * test::share) != 0) continue;
      const Memory memory(random, {h, sizes.parents, sizes.parents * sizes.children, sizes.top_k});
      for (const Form form : {Form::kRows, Form::kPackedAll, Form::kPackedParents}) {
        compare_with_reference(memory, isa, form, positions[random() % std::size(positions)], random);
      }
    }
  }
  const std::pair<MemoryShape, std::size_t> real[] = {
      {{768, 16, 48, 8}, 128}, {{384, 16, 48, 8}, 37}, {{128, 16, 48, 8}, 1},  {{767, 16, 48, 1}, 12},
      {{769, 16, 48, 16}, 5},  {{768, 16, 768, 8}, 9}, {{768, 400, 1200, 8}, 6}};
  for (const auto& [shape, count] : real) {
    const Memory memory(random, shape);
    for (const Form form : {Form::kRows, Form::kPackedAll, Form::kPackedParents}) {
      compare_with_reference(memory, isa, form, count, random);
    }
  }
}

void test_hostile_values(Isa isa) {
  Random random(test::seed + 1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const float hostile[] = {nan, -nan, infinity, -infinity, 1e-42f, -1e-42f, 3e38f, -3e38f};
  for (const MemoryShape& shape : {MemoryShape{33, 16, 48, 8}, MemoryShape{20, 50, 50, 9}, MemoryShape{17, 4, 12, 4}}) {
    const auto hidden = static_cast<std::size_t>(shape.hidden);
    const std::size_t positions = 14;
    Memory memory(random, shape);
    Guarded<float> x(positions * hidden), clean(positions * hidden), out(positions * hidden);
    Guarded<char> scratch(scratch_bytes(shape));
    test::fill_normal(random, x.data(), x.size(), 1.0);
    Epilogue epilogue;
    epilogue.residual = true;
    const auto count = static_cast<std::int64_t>(positions);
    for (const Form form : {Form::kRows, Form::kPackedAll, Form::kPackedParents}) {
      test::context = name(shape, positions, isa, form, 1) + ", hostile values";
      memory.run(form, epilogue, x.data(), 0, count, clean.data(), scratch.data(), scratch.size(), isa);
      for (const float value : hostile) {
        const std::size_t bad = test::pick(random, 0, positions - 1);
        const std::size_t at = bad * hidden + test::pick(random, 0, hidden - 1);
        const float kept = x[at];
        x[at] = value;
        CHECK(memory.run(form, epilogue, x.data(), 0, count, out.data(), scratch.data(), scratch.size(), isa) ==
              Status::kOk);
        x[at] = kept;
        for (std::size_t p = 0; p < positions; ++p) {
          if (p != bad) CHECK(std::memcmp(&out[p * hidden], &clean[p * hidden], hidden * sizeof(float)) == 0);
        }
        if (std::isnan(value)) CHECK(std::isnan(out[bad * hidden]));
      }
    }
    // In the memory itself: any of its tensors, many at once. Only memory safety can be asked for.
    for (int round = 0; round < 12; ++round) {
      for (Guarded<float>* tensor : {&memory.parents, &memory.keys, &memory.values}) {
        for (int i = 0; i < 3; ++i) (*tensor)[test::pick(random, 0, tensor->size() - 1)] = hostile[random() % 8];
      }
      memory.pack();
      for (const Form form : {Form::kRows, Form::kPackedAll, Form::kPackedParents}) {
        CHECK(memory.run(form, epilogue, x.data(), 0, count, out.data(), scratch.data(), scratch.size(), isa) ==
              Status::kOk);
      }
    }
  }
  // All logits equal: the lower parents are chosen, so with values that name their parent the result is known.
  test::context = std::string(isa_name(isa)) + ", ties";
  for (const std::int64_t parents : {5, 16, 33, 70}) {
    const MemoryShape shape{8, parents, parents, 3};
    Memory memory(random, shape);
    std::fill(memory.parents.begin(), memory.parents.end(), 0.25f);
    for (std::size_t i = 0; i < memory.values.size(); ++i) memory.values[i] = static_cast<float>(i / 8);
    memory.pack();
    Guarded<float> x(8), out(8);
    Guarded<char> scratch(scratch_bytes(shape));
    std::fill(x.begin(), x.end(), 1.0f);
    for (const Form form : {Form::kRows, Form::kPackedAll, Form::kPackedParents}) {
      memory.run(form, Epilogue{}, x.data(), 0, 1, out.data(), scratch.data(), scratch.size(), isa);
      CHECK(std::fabs(out[0] - 1.0f) < 1e-6f);  // (0 + 1 + 2) / 3
    }
  }
}

// A memory that adds nothing to a level row leaves it level: the LayerNorm behind it gives exactly the bias.
void test_level_rows(Isa isa) {
  Random random(test::seed + 4);
  for (const std::int64_t hidden : {1, 5, 48, 64, 312, 384}) {
    const MemoryShape shape{hidden, 6, 18, 4};
    Memory memory(random, shape);
    std::fill(memory.values.begin(), memory.values.end(), 0.0f);
    memory.pack();
    Guarded<float> x(2 * memory.norm_bias.size()), out(x.size());
    std::fill_n(x.begin(), x.size() / 2, 123.456f);
    std::fill_n(x.begin() + x.size() / 2, x.size() / 2, 0.7f);
    Guarded<char> scratch(scratch_bytes(shape));
    Epilogue epilogue{true, memory.norm_weight.data(), memory.norm_bias.data(), 1e-12f};
    for (const Form form : {Form::kRows, Form::kPackedAll, Form::kPackedParents}) {
      test::context = name(shape, 2, isa, form, 3) + ", level rows";
      CHECK(memory.run(form, epilogue, x.data(), 0, 2, out.data(), scratch.data(), scratch.size(), isa) == Status::kOk);
      for (std::size_t i = 0; i < out.size(); ++i) CHECK(out[i] == memory.norm_bias[i % memory.norm_bias.size()]);
    }
  }
}

void test_exp(Isa isa) {
  test::context = std::string(isa_name(isa)) + ", exp";
  const spartan::F32Kernels* kernels = spartan::f32_kernels(isa);
  for (const std::size_t count : {1, 3, 4, 5, 15, 16, 17, 100, 4001}) {
    Guarded<float> v(count);
    for (std::size_t i = 0; i < count; ++i) v[i] = -87.0f * static_cast<float>(i) / static_cast<float>(count);
    std::vector<float> input(v.begin(), v.end());
    kernels->exp_nonpositive(v.data(), count);
    for (std::size_t i = 0; i < count; ++i) {
      const double expected = std::exp(static_cast<double>(input[i]));
      if (!(std::fabs(v[i] - expected) <= 2 * test::kEpsilon * expected)) {
        test::fail("exp(%.9g): got %.9g, expected %.9g", static_cast<double>(input[i]), static_cast<double>(v[i]), expected);
      }
    }
  }
  float edge[] = {0.0f, -1e4f, -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), -88.0f};
  kernels->exp_nonpositive(edge, 5);
  CHECK(edge[0] == 1.0f);
  CHECK(edge[1] >= 0 && edge[1] < 2e-38f);
  CHECK(edge[2] >= 0 && edge[2] < 2e-38f);
  CHECK(std::isnan(edge[3]));
  CHECK(edge[4] >= 0 && edge[4] < 2e-38f);
}

void test_selection(Isa isa) {
  test::context = std::string(isa_name(isa)) + ", selection";
  const spartan::F32Kernels* kernels = spartan::f32_kernels(isa);
  Random random(test::seed + 2);
  const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(),
                           -std::numeric_limits<float>::quiet_NaN(), 1e-44f};
  for (int round = 0; round < 3000; ++round) {
    const std::size_t count = test::pick(random, 1, round % 2 == 0 ? 40 : 200);
    const std::size_t top_k = test::pick(random, 1, count);
    Guarded<float> logits(count);
    // Few distinct values: many ties.
    const int kind = round % 3;
    for (float& logit : logits) {
      logit = kind == 0   ? test::normal(random)
              : kind == 1 ? static_cast<float>(random() % 4)
                          : special[random() % std::size(special)];
    }
    Guarded<std::uint32_t> chosen(top_k);
    Guarded<std::int32_t> order((count + 15) / 16 * 16);
    kernels->select_largest(logits.data(), count, top_k, chosen.data(), order.data());
    std::vector<std::uint32_t> expected(count);
    std::iota(expected.begin(), expected.end(), 0u);
    std::stable_sort(expected.begin(), expected.end(), [&](std::uint32_t a, std::uint32_t b) {
      const bool nan_a = std::isnan(logits[a]);
      const bool nan_b = std::isnan(logits[b]);
      return nan_a || nan_b ? nan_a && !nan_b : logits[a] > logits[b];
    });
    expected.resize(top_k);
    std::sort(expected.begin(), expected.end());
    if (!std::equal(expected.begin(), expected.end(), chosen.begin())) {
      test::fail("round %d: count %zu, top_k %zu", round, count, top_k);
    }
  }
}

void test_wrong_calls() {
  test::context = "wrong calls";
  const MemoryShape good{8, 4, 12, 2};
  CHECK(check(good) == Status::kOk);
  const std::pair<MemoryShape, Status> bad[] = {
      {{0, 4, 12, 2}, Status::kBadHidden},       {{spartan::kMaxHidden + 1, 4, 12, 2}, Status::kBadHidden},
      {{8, 0, 12, 2}, Status::kBadParents},      {{8, spartan::kMaxParents + 1, 12, 2}, Status::kBadParents},
      {{8, 4, 13, 2}, Status::kBadCells},        {{8, 4, 0, 2}, Status::kBadCells},
      {{8, 4, -4, 2}, Status::kBadCells},        {{8, 4, spartan::kMaxCells + 4, 2}, Status::kBadCells},
      {{8, 4, 12, 0}, Status::kBadTopK},         {{8, 4, 12, 5}, Status::kBadTopK},
      {{-8, 4, 12, 2}, Status::kBadHidden}};
  for (const auto& [shape, status] : bad) {
    CHECK(check(shape) == status);
    CHECK(scratch_bytes(shape) == 0);
  }
  Random random(test::seed + 3);
  Memory memory(random, good);
  Guarded<float> x(3 * 8), out(3 * 8);
  Guarded<char> scratch(scratch_bytes(good));
  const auto call = [&](const Epilogue& epilogue, const float* input, std::int64_t begin, std::int64_t end, float* output,
                        void* memory_for_it, std::size_t size) {
    const Status rows = memory.run(Form::kRows, epilogue, input, begin, end, output, memory_for_it, size, Isa::kBest);
    const Status packed =
        memory.run(Form::kPackedAll, epilogue, input, begin, end, output, memory_for_it, size, Isa::kBest);
    CHECK(rows == packed);
    return rows;
  };
  Epilogue plain, bias_only, bad_eps;
  bias_only.norm_bias = memory.norm_bias.data();
  bad_eps.norm_weight = memory.norm_weight.data();
  bad_eps.norm_eps = std::numeric_limits<float>::quiet_NaN();
  const std::size_t size = scratch.size();
  CHECK(call(plain, x.data(), 0, 3, out.data(), scratch.data(), size) == Status::kOk);
  CHECK(call(plain, x.data(), 2, 1, out.data(), scratch.data(), size) == Status::kBadRange);
  CHECK(call(plain, x.data(), -1, 1, out.data(), scratch.data(), size) == Status::kBadRange);
  CHECK(call(plain, nullptr, 0, 0, nullptr, nullptr, 0) == Status::kOk);
  CHECK(call(plain, nullptr, 0, 3, out.data(), scratch.data(), size) == Status::kNullPointer);
  CHECK(call(plain, x.data(), 0, 3, nullptr, scratch.data(), size) == Status::kNullPointer);
  CHECK(call(plain, x.data(), 0, 3, out.data(), nullptr, size) == Status::kNullPointer);
  CHECK(call(plain, x.data(), 0, 3, out.data(), scratch.data(), size - 1) == Status::kScratchTooSmall);
  CHECK(call(bias_only, x.data(), 0, 3, out.data(), scratch.data(), size) == Status::kBadNorm);
  CHECK(call(bad_eps, x.data(), 0, 3, out.data(), scratch.data(), size) == Status::kBadNorm);
  for (const float temperature : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    CHECK(memory_lookup_rows_f32(good, {memory.parents.data(), memory.keys.data(), memory.values.data(), temperature},
                                 plain, x.data(), 0, 3, out.data(), scratch.data(), size) == Status::kBadTemperature);
  }
  CHECK(memory_lookup_rows_f32(good, {nullptr, memory.keys.data(), memory.values.data(), 1.0f}, plain, x.data(), 0, 3,
                               out.data(), scratch.data(), size) == Status::kNullPointer);
  CHECK(memory_lookup_packed_f32(good, {memory.packed_all.data(), nullptr, nullptr}, plain, x.data(), 0, 3, out.data(),
                                 scratch.data(), size) == Status::kNullPointer);
}

}  // namespace

int main(int argc, char** argv) {
  test::read_arguments(argc, argv);
  test_wrong_calls();
  int vector_kernels = 0;
#define SPARTAN_F32(enumerator, suffix)                                     \
  if (spartan::has_isa(spartan::Isa::enumerator)) {                           \
    test_exp(Isa::enumerator);                                                      \
    test_level_rows(Isa::enumerator);                                               \
    test_selection(Isa::enumerator);                                                \
    test_hostile_values(Isa::enumerator);                                           \
    test_shapes(Isa::enumerator);                                                   \
    vector_kernels += Isa::enumerator != Isa::kPortable;                            \
    std::printf("f32_" #suffix ": tested\n");                                       \
  } else {                                                                          \
    std::printf("f32_" #suffix ": skipped, this processor has not its features\n"); \
  }
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32
  test::context = "dispatch";
  const std::uint32_t vector_units = spartan::kCpuAvx2Fma | spartan::kCpuAvx512 | spartan::kCpuNeon;
  if ((spartan::cpu_features() & vector_units) != 0) {
    CHECK(vector_kernels > 0);
    CHECK(spartan::best_isa_f32() != Isa::kPortable);
  }
  std::printf("best: %s; positions compared: %zu, of which %zu had parents within rounding of each other\n",
              isa_name(spartan::best_isa_f32()), compared, unclear);
  CHECK(unclear * 20 < compared);
  return test::failures == 0 ? 0 : 1;
}
