// int8 and int4 memories: every kernel set of this machine against float64 of what the integers stand for.
#include <cmath>

#include "cpu/features.h"
#include "memory_lookup/f32_kernels.h"
#include "reference.h"
#include "spartan/memory_lookup.h"
#include "support.h"

namespace {

using spartan::Cells;
using spartan::Epilogue;
using spartan::Isa;
using spartan::MemoryShape;
using spartan::Status;
using test::Guarded;
using test::Random;

std::size_t to_size(std::int64_t n) { return static_cast<std::size_t>(n); }
std::size_t blocks_of(std::int64_t n, std::int64_t block) { return to_size((n + block - 1) / block); }

// Integer cells with their scales, as a quantiser leaves them.
struct Quantized {
  std::vector<int> cells;      // [M, H]
  std::vector<float> scales;   // [M, groups]
  std::size_t groups;
  std::vector<double> meaning;  // [M, H]
};

// `bits` 8: a scale a cell; 4: a scale for every 32 hidden.
Quantized quantize(Random& random, const MemoryShape& shape, int bits, double scale) {
  const std::size_t cells = to_size(shape.cells), hidden = to_size(shape.hidden);
  Quantized result;
  result.groups = bits == 8 ? 1 : hidden / 32;
  const std::size_t width = hidden / result.groups;
  const int lowest = bits == 8 ? -128 : -8;
  result.cells.resize(cells * hidden);
  result.meaning.resize(cells * hidden);
  for (std::size_t m = 0; m < cells; ++m) {
    const std::size_t kind = m % 5;  // all zero, one outlier, reaching the lowest integer, and ordinary ones
    for (std::size_t g = 0; g < result.groups; ++g) {
      std::vector<double> values(width);
      double largest = 0;
      for (double& v : values) v = kind == 0 ? 0.0 : test::normal(random) * scale;
      if (kind == 1) values[test::pick(random, 0, width - 1)] = 300 * scale;
      for (double v : values) largest = std::max(largest, std::fabs(v));
      const double step = largest > 0 ? largest / (-lowest - 1) : 1.0;
      result.scales.push_back(static_cast<float>(step));
      for (std::size_t i = 0; i < width; ++i) {
        const std::size_t at = m * hidden + g * width + i;
        result.cells[at] = static_cast<int>(std::nearbyint(values[i] / step));
        if (kind == 2 && i == width / 2) result.cells[at] = lowest;
        result.meaning[at] = static_cast<double>(result.cells[at]) * result.scales.back();
      }
    }
  }
  return result;
}

// A memory in the layouts of the header, for 8 or 4 bits, packed or as rows.
struct Memory {
  Memory(Random& random, const MemoryShape& s, int bit_count, bool as_rows)
      : shape(s),
        bits(bit_count),
        rows(as_rows),
        logit_weights(blocks_of(s.parents, 16) * to_size(s.hidden) * 16),
        key_cells(key_bytes()),
        key_scales((rows ? to_size(s.cells) : blocks_of(s.cells, 16) * 16) * groups()),
        value_cells(bits == 4 || rows ? row_bytes() : blocks_of(s.hidden, 64) * to_size(s.cells) * 64),
        value_scales(to_size(s.cells) * groups()),
        norm_weight(to_size(s.hidden)) {
    const std::size_t hidden = to_size(shape.hidden), parent_count = to_size(shape.parents);
    const std::size_t children = to_size(shape.cells) / parent_count;
    const double scale = 1.5 / std::sqrt(static_cast<double>(hidden));
    std::vector<float> floats(parent_count * hidden);
    test::fill_normal(random, floats.data(), floats.size(), scale);
    test::fill_normal(random, norm_weight.data(), norm_weight.size(), 1.0);
    parents.assign(floats.begin(), floats.end());
    std::fill(logit_weights.begin(), logit_weights.end(), 0.0f);
    for (std::size_t e = 0; e < parent_count; ++e) {
      for (std::size_t h = 0; h < hidden; ++h) logit_weights[(e / 16 * hidden + h) * 16 + e % 16] = floats[e * hidden + h];
    }
    keys = quantize(random, shape, bits, scale);
    values = quantize(random, shape, bits, 1.0);
    std::fill(key_cells.begin(), key_cells.end(), bits == 8 ? 0 : 0x88);
    std::fill(key_scales.begin(), key_scales.end(), 0.0f);
    std::fill(value_cells.begin(), value_cells.end(), bits == 8 ? 0 : 0x88);
    std::copy(values.scales.begin(), values.scales.end(), value_scales.begin());
    if (rows) std::copy(keys.scales.begin(), keys.scales.end(), key_scales.begin());
    for (std::size_t m = 0; m < to_size(shape.cells); ++m) {
      const std::size_t n = m % children * parent_count + m / children;  // its column
      for (std::size_t h = 0; h < hidden; ++h) {
        const int key = keys.cells[m * hidden + h], value = values.cells[m * hidden + h];
        if (bits == 8) {
          const std::size_t quads = (hidden + 3) / 4;
          key_cells[rows ? m * hidden + h : ((n / 16 * quads + h / 4) * 16 + n % 16) * 4 + h % 4] =
              static_cast<std::uint8_t>(key);
          value_cells[rows ? m * hidden + h : (h / 64 * to_size(shape.cells) + m) * 64 + h % 64] =
              static_cast<std::uint8_t>(value);
        } else {
          const std::size_t row = m * hidden / 2 + h / 32 * 16 + h % 16;
          set_nibble(value_cells[row], h % 32 >= 16, value);
          if (rows) {
            set_nibble(key_cells[row], h % 32 >= 16, key);
          } else {
            set_nibble(key_cells[((n / 16 * (hidden / 8) + h / 8) * 16 + n % 16) * 4 + h % 4], h % 8 >= 4, key);
          }
        }
      }
      for (std::size_t g = 0; g < keys.groups && !rows; ++g) {
        const std::size_t at = bits == 8 ? n : (n / 16 * keys.groups + g) * 16 + n % 16;
        key_scales[at] = keys.scales[m * keys.groups + g];
      }
    }
  }

  static void set_nibble(std::uint8_t& byte, bool high, int value) {
    const unsigned nibble = static_cast<unsigned>(value + 8);
    byte = static_cast<std::uint8_t>(high ? (byte & 0x0fu) | nibble << 4 : (byte & 0xf0u) | nibble);
  }
  std::size_t groups() const { return bits == 8 ? 1 : to_size(shape.hidden) / 32; }
  std::size_t row_bytes() const { return to_size(shape.cells * shape.hidden) * to_size(bits) / 8; }
  std::size_t key_bytes() const {
    if (rows) return row_bytes();
    return blocks_of(shape.cells, 16) * 64 * (bits == 8 ? blocks_of(shape.hidden, 4) : to_size(shape.hidden) / 8);
  }
  Cells cells() const { return rows ? Cells::kQuantizedRows : Cells::kQuantizedPacked; }

  Status run(const Epilogue& epilogue, const float* x, std::int64_t begin, std::int64_t end, float* out, void* scratch,
             std::size_t size, Isa isa) const {
    if (bits == 4) {
      return memory_lookup_int4(
          shape, {logit_weights.data(), key_cells.data(), key_scales.data(), value_cells.data(), value_scales.data(), rows},
          epilogue, x, begin, end, out, scratch, size, isa);
    }
    return memory_lookup_int8(shape,
                              {logit_weights.data(), reinterpret_cast<const std::int8_t*>(key_cells.data()),
                               key_scales.data(), reinterpret_cast<const std::int8_t*>(value_cells.data()),
                               value_scales.data(), rows},
                              epilogue, x, begin, end, out, scratch, size, isa);
  }

  MemoryShape shape;
  int bits;
  bool rows;
  Guarded<float> logit_weights;
  Guarded<std::uint8_t> key_cells;
  Guarded<float> key_scales;
  Guarded<std::uint8_t> value_cells;
  Guarded<float> value_scales, norm_weight;
  std::vector<double> parents;
  Quantized keys, values;
};

std::size_t compared = 0;
std::size_t unclear = 0;

void compare(const Memory& memory, Isa isa, std::size_t positions, Random& random) {
  const std::size_t hidden = to_size(memory.shape.hidden);
  char text[160];
  std::snprintf(text, sizeof text, "%s, int%d %s, H=%zu E=%d M=%d K=%d positions=%zu", isa_name(isa), memory.bits,
                memory.rows ? "rows" : "packed", hidden, static_cast<int>(memory.shape.parents),
                static_cast<int>(memory.shape.cells), static_cast<int>(memory.shape.top_k), positions);
  test::context = text;
  Guarded<float> x(positions * hidden), out(positions * hidden);
  Guarded<char> scratch(scratch_bytes(memory.shape, memory.cells()));
  test::fill_normal(random, x.data(), x.size(), 1.0);
  Epilogue epilogue;
  epilogue.residual = random() % 2 == 0;
  if (random() % 3 == 0) epilogue.norm_weight = memory.norm_weight.data();
  const auto run = [&](std::size_t begin, std::size_t end) {
    CHECK(memory.run(epilogue, x.data(), static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end), out.data(),
                     scratch.data(), scratch.size(), isa) == Status::kOk);
  };
  run(0, positions);
  for (std::size_t p = 0; p < positions; ++p) {
    const test::Reference expected =
        test::reference_lookup(memory.shape, x.data() + p * hidden, memory.parents.data(), memory.keys.meaning.data(),
                               memory.values.meaning.data(), epilogue);
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
  std::vector<float> whole(out.begin(), out.end());
  const std::size_t cut = test::pick(random, 0, positions);
  run(cut, positions);
  run(0, cut);
  CHECK(std::memcmp(whole.data(), out.data(), whole.size() * sizeof(float)) == 0);
}

void test_shapes(Isa isa) {
  Random random(test::seed);
  struct Sizes { std::int64_t parents, children, top_k; };
  const Sizes memories[] = {{1, 1, 1}, {3, 2, 3}, {16, 3, 8}, {16, 3, 1}, {16, 1, 16}, {5, 48, 2}, {17, 2, 9}, {33, 1, 7},
                            {2, 65, 1}};
  const std::int64_t hidden[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 32, 33, 63, 64, 65, 96, 128, 129, 160, 384, 768};
  const std::size_t positions[] = {1, 2, 5, 6, 7, 13, 31, 65};
  for (const std::int64_t h : hidden) {
    for (const Sizes& sizes : memories) {
      if (random() % ((h > 64 ? 3 : 1) * test::share) != 0) continue;
      const MemoryShape shape{h, sizes.parents, sizes.parents * sizes.children, sizes.top_k};
      for (const bool rows : {false, true}) {
        compare(Memory(random, shape, 8, rows), isa, positions[random() % std::size(positions)], random);
        if (h % 32 == 0) compare(Memory(random, shape, 4, rows), isa, positions[random() % std::size(positions)], random);
      }
    }
  }
}

// What the integers stand for must be the same bits everywhere.
void test_expansion_is_exact(Isa isa) {
  test::context = std::string(isa_name(isa)) + ", expansion";
  Random random(test::seed + 1);
  const spartan::F32Kernels& kernels = *spartan::f32_kernels(isa);
  const spartan::F32Kernels& definition = *spartan::f32_kernels(Isa::kPortable);
  for (const std::size_t hidden : {1, 2, 3, 4, 5, 8, 31, 32, 33, 64, 96, 100, 768}) {
    const std::size_t quads = (hidden + 3) / 4;
    Guarded<std::uint8_t> bytes(quads * 64);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    Guarded<float> scales((hidden / 32 + 1) * 16), got(hidden * 16), expected(hidden * 16);
    test::fill_normal(random, scales.data(), scales.size(), 0.01);
    const auto same = [&](std::size_t count) {
      CHECK(std::memcmp(got.data(), expected.data(), count * sizeof(float)) == 0);
    };
    const auto* signed_bytes = reinterpret_cast<const std::int8_t*>(bytes.data());
    kernels.expand_int8_row(signed_bytes, scales[0], hidden, got.data());
    definition.expand_int8_row(signed_bytes, scales[0], hidden, expected.data());
    same(hidden);
    kernels.expand_int8_columns(signed_bytes, scales.data(), hidden, got.data());
    definition.expand_int8_columns(signed_bytes, scales.data(), hidden, expected.data());
    same(hidden * 16);
    if (hidden % 32 != 0) continue;
    kernels.expand_int4_row(bytes.data(), scales.data(), hidden, got.data());
    definition.expand_int4_row(bytes.data(), scales.data(), hidden, expected.data());
    same(hidden);
    kernels.expand_int4_columns(bytes.data(), scales.data(), hidden, got.data());
    definition.expand_int4_columns(bytes.data(), scales.data(), hidden, expected.data());
    same(hidden * 16);
  }
}

void test_wrong_calls() {
  test::context = "wrong calls";
  Random random(test::seed + 2);
  const Memory memory(random, {32, 4, 12, 2}, 8, false);
  Guarded<float> x(32), out(32);
  Guarded<char> scratch(scratch_bytes(memory.shape, Cells::kQuantizedPacked));
  const auto call = [&](std::size_t size) {
    return memory.run(Epilogue{}, x.data(), 0, 1, out.data(), scratch.data(), size, Isa::kBest);
  };
  std::fill(x.begin(), x.end(), 0.5f);
  CHECK(call(scratch.size()) == Status::kOk);
  CHECK(call(scratch.size() - 1) == Status::kScratchTooSmall);
  CHECK(memory_lookup_int8(memory.shape, {}, Epilogue{}, x.data(), 0, 1, out.data(), scratch.data(), scratch.size()) ==
        Status::kNullPointer);
  CHECK(memory_lookup_int4({33, 4, 12, 2}, {}, Epilogue{}, x.data(), 0, 1, out.data(), scratch.data(), scratch.size()) ==
        Status::kBadGroups);
}

}  // namespace

int main(int argc, char** argv) {
  test::read_arguments(argc, argv);
  test_wrong_calls();
#define SPARTAN_F32(enumerator, suffix, needed)                                     \
  if ((spartan::cpu_features() & (needed)) == (needed)) {                           \
    test_expansion_is_exact(Isa::enumerator);                                       \
    test_shapes(Isa::enumerator);                                                   \
    std::printf("quantised, " #suffix ": tested\n");                                \
  } else {                                                                          \
    std::printf("quantised, " #suffix ": skipped, this processor has not its features\n"); \
  }
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32
  test::context = "summary";
  std::printf("positions compared: %zu, of which %zu had parents within rounding of each other\n", compared, unclear);
  CHECK(unclear * 20 < compared);
  return test::failures == 0 ? 0 : 1;
}
