// int8 and int4 memories: every kernel set of this machine against float64 of what the integers stand for, and its
// integer loops against the plain ones, bit for bit.
#include <cmath>

#include "cpu/features.h"
#include "memory_lookup/plan.h"
#include "memory_lookup/quantized_kernels.h"
#include "reference.h"
#include "spartan/memory_lookup.h"
#include "support.h"

namespace {

using spartan::Cells;
using spartan::Epilogue;
using spartan::Isa;
using spartan::MemoryShape;
using spartan::QuantizedKernels;
using spartan::QuantizedRows;
using spartan::QuantizedWeights;
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
        value_cells(blocks_of(s.hidden, 64) * blocks_of(s.cells, 16) * (bits == 8 ? 1024 : 512)),
        value_scales(blocks_of(s.cells, 16) * 16 * groups()),
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
    std::fill(value_scales.begin(), value_scales.end(), 0.0f);
    if (rows) std::copy(keys.scales.begin(), keys.scales.end(), key_scales.begin());
    const std::size_t quads = blocks_of(shape.cells, 16) * 4;
    for (std::size_t m = 0; m < to_size(shape.cells); ++m) {
      const std::size_t n = m % children * parent_count + m / children;  // its column
      for (std::size_t h = 0; h < hidden; ++h) {
        const int key = keys.cells[m * hidden + h], value = values.cells[m * hidden + h];
        const std::size_t quad = h / 64 * quads + m / 4;
        if (bits == 8) {
          const std::size_t column = ((n / 16 * ((hidden + 3) / 4) + h / 4) * 16 + n % 16) * 4 + h % 4;
          key_cells[rows ? m * blocks_of(shape.hidden, 64) * 64 + h : column] = static_cast<std::uint8_t>(key);
          value_cells[(quad * 64 + h % 64) * 4 + m % 4] = static_cast<std::uint8_t>(value);
        } else {
          set_nibble(value_cells[(quad * 32 + h % 32) * 4 + m % 4], h % 64 >= 32, value);
          if (rows) {
            set_nibble(key_cells[(m * blocks_of(shape.hidden, 64) + h / 64) * 32 + h % 32], h % 64 >= 32, key);
          } else {
            set_nibble(key_cells[((n / 16 * (hidden / 8) + h / 8) * 16 + n % 16) * 4 + h % 4], h % 8 >= 4, key);
          }
        }
      }
      for (std::size_t g = 0; g < keys.groups; ++g) {
        value_scales[m * keys.groups + g] = values.scales[m * keys.groups + g];
        if (!rows) key_scales[bits == 8 ? n : (n / 16 * keys.groups + g) * 16 + n % 16] = keys.scales[m * keys.groups + g];
      }
    }
  }

  static void set_nibble(std::uint8_t& byte, bool high, int value) {
    const unsigned nibble = static_cast<unsigned>(value + 8);
    byte = static_cast<std::uint8_t>(high ? (byte & 0x0fu) | nibble << 4 : (byte & 0xf0u) | nibble);
  }
  std::size_t groups() const { return bits == 8 ? 1 : to_size(shape.hidden) / 32; }
  std::size_t row_bytes() const { return to_size(shape.cells) * blocks_of(shape.hidden, 64) * 64 * to_size(bits) / 8; }
  std::size_t key_bytes() const {
    if (rows) return row_bytes();
    return blocks_of(shape.cells, 16) * 64 * (bits == 8 ? blocks_of(shape.hidden, 4) : to_size(shape.hidden) / 8);
  }
  Cells cells() const { return bits == 8 ? Cells::kInt8 : Cells::kInt4; }

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

// What the row stands for once it is quantised; each element is within half a step of what it was.
std::vector<float> rounded_row(const float* x, std::size_t hidden) {
  double largest = 0;
  for (std::size_t h = 0; h < hidden; ++h) largest = std::max(largest, std::fabs(static_cast<double>(x[h])));
  std::vector<float> result(hidden);
  const float inverse = 127.0f / static_cast<float>(largest);
  for (std::size_t h = 0; h < hidden; ++h) {
    result[h] = static_cast<float>(std::nearbyint(x[h] * inverse) * (largest / 127));
  }
  return result;
}

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
    const std::vector<float> rounded = rounded_row(x.data() + p * hidden, hidden);
    const test::Rounding rounding{rounded.data(), memory.values.cells.data(), memory.values.scales.data(),
                                  memory.values.groups};
    const test::Reference expected =
        test::reference_lookup(memory.shape, x.data() + p * hidden, memory.parents.data(), memory.keys.meaning.data(),
                               memory.values.meaning.data(), epilogue, &rounding);
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

template <typename T>
void fill_bytes(Random& random, Guarded<T>& bytes) {
  for (T& byte : bytes) byte = static_cast<T>(random());
}

// Every loop of `kernels` on the same integers as the plain loops: the same bits.
void test_loops(const QuantizedKernels& kernels, Random& random, std::size_t hidden, std::size_t positions,
                std::size_t cells) {
  const QuantizedKernels& plain = *spartan::quantized_kernels(Isa::kPortable);
  const std::size_t stride = (hidden + 63) / 64 * 64, quads = (cells + 3) / 4, blocks = (cells + 15) / 16;
  const auto same = [&](const auto& got, const auto& expected, const char* what) {
    if (std::memcmp(got.data(), expected.data(), got.size() * sizeof got[0]) != 0) {
      test::fail("%s differs: H=%zu positions=%zu cells=%zu", what, hidden, positions, cells);
    }
  };
  for (const bool nibbles : {false, true}) {
    if (nibbles && hidden % 32 != 0) continue;
    const std::size_t groups = nibbles ? hidden / 32 : 1;
    Guarded<float> x(positions * hidden);
    test::fill_normal(random, x.data(), x.size(), 1.0);
    // Zeros, halves that are ties, and a row whose largest element stands alone.
    for (std::size_t h = 0; h < hidden; ++h) x[h] = h == 0 ? -127.0f : static_cast<float>(random() % 200) / 2 - 50.0f;
    if (positions > 1) std::fill_n(x.data() + hidden, hidden, 0.0f);
    if (positions > 2) x[2 * hidden] = 1e30f;
    if (positions > 3) x[3 * hidden + hidden / 2] = std::nanf("");
    if (positions > 4) x[4 * hidden + hidden / 2] = -HUGE_VALF;
    if (positions > 5) std::fill_n(x.data() + 5 * hidden, hidden, 1e-40f);
    struct Rows {
      Rows(std::size_t p, std::size_t s, std::size_t g) : cells(p * s), scales(p), sums(p * g) {}
      Guarded<std::int8_t> cells;
      Guarded<float> scales;
      Guarded<std::int32_t> sums;
    } own(positions, stride, groups), rows(positions, stride, groups);
    kernels.quantize_rows(x.data(), positions, hidden, hidden / groups, own.cells.data(), stride, own.scales.data(),
                          own.sums.data());
    plain.quantize_rows(x.data(), positions, hidden, hidden / groups, rows.cells.data(), stride, rows.scales.data(),
                        rows.sums.data());
    same(own.cells, rows.cells, "quantize_rows");
    same(own.scales, rows.scales, "quantize_rows, scales");
    same(own.sums, rows.sums, "quantize_rows, sums");
    CHECK(rows.cells[0] == -127);
    for (std::size_t p = 1; p < positions; ++p) {
      if (p == 3 || p == 4) CHECK(std::isnan(rows.scales[p]) && rows.sums[p * groups] == 0);
      if (p == 1 || p == 5) CHECK(rows.scales[p] == 0 && rows.cells[p * stride] == 0);
    }
    const QuantizedRows q{rows.cells.data(), stride, rows.scales.data(), rows.sums.data()};

    Guarded<std::uint8_t> keys(nibbles ? blocks * hidden * 8 : blocks * ((hidden + 3) / 4) * 64);
    fill_bytes(random, keys);
    Guarded<float> key_scales(blocks * 16 * groups), logits(positions * blocks * 16), plain_logits(logits.size());
    for (float& scale : key_scales) scale = 0.001f + 0.01f * static_cast<float>(random() % 100);
    const auto* signed_keys = reinterpret_cast<const std::int8_t*>(keys.data());
    const auto key_logits = [&](const QuantizedKernels& k, float* out) {
      if (nibbles) k.key_logits_int4(q, positions, hidden, keys.data(), key_scales.data(), blocks, out, blocks * 16);
      else k.key_logits_int8(q, positions, hidden, signed_keys, key_scales.data(), blocks, out, blocks * 16);
    };
    key_logits(kernels, logits.data());
    key_logits(plain, plain_logits.data());
    same(logits, plain_logits, "key_logits");

    Guarded<std::uint8_t> key_rows(cells * stride / (nibbles ? 2 : 1));
    fill_bytes(random, key_rows);
    for (std::size_t r = 0; r < cells && !nibbles; ++r) std::fill_n(key_rows.data() + r * stride + hidden, stride - hidden, 0);
    Guarded<std::uint32_t> picked(positions);
    for (std::uint32_t& p : picked) p = static_cast<std::uint32_t>(random() % positions);
    Guarded<float> row_scales(cells * groups), dots(positions * cells), plain_dots(dots.size());
    for (float& scale : row_scales) scale = 0.001f + 0.01f * static_cast<float>(random() % 100);
    const auto* signed_rows = reinterpret_cast<const std::int8_t*>(key_rows.data());
    const auto key_dots = [&](const QuantizedKernels& k, float* out) {
      if (nibbles) k.key_dots_int4(q, picked.data(), positions, hidden, key_rows.data(), row_scales.data(), cells, out);
      else k.key_dots_int8(q, picked.data(), positions, hidden, signed_rows, row_scales.data(), cells, out);
    };
    key_dots(kernels, dots.data());
    key_dots(plain, plain_dots.data());
    if (!nibbles) same(dots, plain_dots, "key_dots");
    for (std::size_t i = 0; i < dots.size() && nibbles; ++i) {
      // Groups are added in any order, of sums up to 8 * 127 * 32 and the offset of as many again.
      const double bound = test::kEpsilon * static_cast<double>(groups + 8) * groups * 2 * 8 * 127 * 32 * 1.0 *
                           static_cast<double>(rows.scales[picked[i / cells]]);
      if (std::isnan(plain_dots[i]) ? !std::isnan(dots[i]) : !(std::fabs(dots[i] - plain_dots[i]) <= bound)) {
        test::fail("key_dots: H=%zu, got %g, expected %g", hidden, static_cast<double>(dots[i]),
                   static_cast<double>(plain_dots[i]));
      }
    }

    // Every second quad is used, with weights of very different size.
    const std::size_t used = (quads + 1) / 2;
    Guarded<float> weights(4 * used), value_scales(4 * quads * groups), scratch(4 * used * spartan::kWeightGroups);
    for (float& w : weights) w = static_cast<float>(random() % 1000) / static_cast<float>(1 + random() % 1000);
    for (float& scale : value_scales) scale = 0.001f + 0.01f * static_cast<float>(random() % 100);
    Guarded<std::uint32_t> lists(positions * used), counts(positions);
    struct Weights {
      Weights(std::size_t p, std::size_t u, std::size_t g) : cells(p * u * g * 4), scales(p * g), sums(p * g) {}
      Guarded<std::int8_t> cells;
      Guarded<float> scales;
      Guarded<std::int32_t> sums;
    } own_weights(positions, used, groups), plain_weights(positions, used, groups);
    const auto quantize = [&](const QuantizedKernels& k, Weights& to, std::size_t p) {
      std::int8_t* target = to.cells.data() + p * used * groups * 4;
      const std::uint32_t* list = lists.data() + p * used;
      std::fill_n(target, used * groups * 4, 0);
      if (nibbles) {
        k.quantize_weights_int4(weights.data(), value_scales.data(), list, counts[p], groups, scratch.data(), target,
                                to.scales.data() + p * groups, to.sums.data() + p * groups);
      } else {
        to.sums[p] = k.quantize_weights_int8(weights.data(), value_scales.data(), list, counts[p], scratch.data(),
                                             target, to.scales.data() + p);
      }
    };
    for (std::size_t p = 0; p < positions; ++p) {
      counts[p] = static_cast<std::uint32_t>(p % 4 == 3 ? used : test::pick(random, 1, used));
      for (std::size_t i = 0; i < used; ++i) lists[p * used + i] = static_cast<std::uint32_t>(2 * i);
      weights[0] = p == 1 ? std::nanf("") : 1.0f;
      quantize(kernels, own_weights, p);
      quantize(plain, plain_weights, p);
    }
    same(own_weights.cells, plain_weights.cells, "quantize_weights");
    same(own_weights.scales, plain_weights.scales, "quantize_weights, scales");
    same(own_weights.sums, plain_weights.sums, "quantize_weights, sums");
    const QuantizedWeights w{lists.data(),
                             counts.data(),
                             used,
                             plain_weights.cells.data(),
                             plain_weights.scales.data(),
                             plain_weights.sums.data()};
    Guarded<std::uint8_t> values((hidden + 63) / 64 * quads * (nibbles ? 128 : 256));
    fill_bytes(random, values);
    Guarded<float> y(positions * hidden), plain_y(y.size());
    const float* addend = random() % 2 == 0 ? x.data() : nullptr;
    const auto weighted = [&](const QuantizedKernels& k, float* out) {
      if (nibbles) k.weighted_int4(values.data(), quads, w, addend, positions, hidden, out);
      else k.weighted_int8(reinterpret_cast<const std::int8_t*>(values.data()), quads, w, addend, positions, hidden, out);
    };
    weighted(kernels, y.data());
    weighted(plain, plain_y.data());
    for (Guarded<float>* each : {&y, &plain_y}) {  // any NaN is as good as another
      for (float& v : *each) v = std::isnan(v) ? std::nanf("") : v;
    }
    same(y, plain_y, "weighted");
  }
}

void test_integers(Isa isa) {
  test::context = std::string(isa_name(isa)) + ", loops";
  Random random(test::seed + 1);
  for (const std::size_t hidden : {1, 2, 3, 4, 5, 8, 31, 32, 33, 63, 64, 65, 96, 100, 128, 129, 160, 384, 768}) {
    for (const std::size_t cells : {1, 3, 4, 5, 16, 17, 48, 65}) {
      if (random() % test::share != 0) continue;
      test_loops(*spartan::quantized_kernels(isa), random, hidden, test::pick(random, 1, 27), cells);
    }
  }
}

// A row that is not finite is NaN throughout, and no other row is touched by it.
void test_rows_that_are_not_finite(Isa isa) {
  test::context = std::string(isa_name(isa)) + ", rows that are not finite";
  Random random(test::seed + 3);
  for (const int bits : {8, 4}) {
    for (const bool rows : {false, true}) {
      const Memory memory(random, {96, 5, 15, 2}, bits, rows);
      Guarded<float> x(7 * 96), clean(7 * 96), dirty(7 * 96);
      Guarded<char> scratch(scratch_bytes(memory.shape, memory.cells()));
      test::fill_normal(random, x.data(), x.size(), 1.0);
      const auto run = [&](float* out) {
        CHECK(memory.run(Epilogue{}, x.data(), 0, 7, out, scratch.data(), scratch.size(), isa) == Status::kOk);
      };
      run(clean.data());
      x[96 + 3] = std::nanf("");
      x[4 * 96] = HUGE_VALF;
      run(dirty.data());
      for (std::size_t i = 0; i < dirty.size(); ++i) {
        const bool poisoned = i / 96 == 1 || i / 96 == 4;
        CHECK(poisoned ? std::isnan(dirty[i]) : std::memcmp(&dirty[i], &clean[i], sizeof(float)) == 0);
      }
    }
  }
}

// A memory that adds nothing to a level row leaves it level: the LayerNorm behind it gives exactly 0, without a bias.
void test_level_rows(Isa isa) {
  test::context = std::string(isa_name(isa)) + ", level rows";
  Random random(test::seed + 4);
  for (const int bits : {8, 4}) {
    for (const bool rows : {false, true}) {
      Memory memory(random, {352, 5, 15, 2}, bits, rows);
      std::fill(memory.value_scales.begin(), memory.value_scales.end(), 0.0f);
      Guarded<float> x(352), out(352);
      std::fill(x.begin(), x.end(), 123.456f);
      Guarded<char> scratch(scratch_bytes(memory.shape, memory.cells()));
      Epilogue epilogue{true, memory.norm_weight.data(), nullptr, 1e-12f};
      CHECK(memory.run(epilogue, x.data(), 0, 1, out.data(), scratch.data(), scratch.size(), isa) == Status::kOk);
      for (const float each : out) CHECK(each == 0);
    }
  }
}

void test_wrong_calls() {
  test::context = "wrong calls";
  Random random(test::seed + 2);
  const Memory memory(random, {32, 4, 12, 2}, 8, false);
  Guarded<float> x(32), out(32);
  Guarded<char> scratch(scratch_bytes(memory.shape, Cells::kInt8));
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
#define SPARTAN_QUANTIZED(enumerator, f32_isa, suffix)                             \
  if (spartan::has_isa(spartan::Isa::enumerator)) {                                  \
    test_integers(Isa::enumerator);                                                        \
    test_level_rows(Isa::enumerator);                                                      \
    test_shapes(Isa::enumerator);                                                          \
    test_rows_that_are_not_finite(Isa::enumerator);                                        \
    std::printf("quantised, " #suffix ": tested\n");                                       \
  } else {                                                                                 \
    std::printf("quantised, " #suffix ": skipped, this processor has not its features\n"); \
  }
#include "memory_lookup/quantized_kernels.inc"
#undef SPARTAN_QUANTIZED
  test::context = "summary";
  std::printf("best: %s; positions compared: %zu, of which %zu had parents within rounding of each other\n",
              isa_name(spartan::best_isa_quantized()), compared, unclear);
  CHECK(unclear * 20 < compared);
  return test::failures == 0 ? 0 : 1;
}
