// Attention: every instruction set of this machine, and half precision, against float64, over shapes, splits, masks,
// distances, windows and hostile values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/features.h"
#include "spartan/attention.h"
#include "support.h"

namespace {

using spartan::AttentionRows;
using spartan::AttentionShape;
using spartan::RelativePositions;
using spartan::Isa;
using Status = spartan::AttentionStatus;
using test::Guarded;
using test::Random;

constexpr double kRounding = std::numeric_limits<float>::epsilon() / 2;
std::size_t compared = 0;

enum class Mask { kNone, kPadded, kAll };
enum class Distances { kNone, kToKeys, kToQueries, kBoth, kNoTable };

struct Case {
  Case(Random& random, std::size_t queries_, std::size_t positions_, std::size_t heads_, std::size_t size_, Mask masked,
       Distances distances = Distances::kNone)
      : queries(queries_), positions(positions_), heads(heads_), size(size_), hidden(heads_ * size_),
        reach(positions_ + test::pick(random, 0, 20)), stride_of_tables(2 * reach + 15 + test::pick(random, 0, 3)),
        packed(positions_ * 3 * hidden), mask(positions_), out(queries_ * hidden),
        to_keys(hidden * stride_of_tables), to_queries(hidden * stride_of_tables) {
    test::fill_normal(random, packed.data(), packed.size(), 1.0);
    const std::size_t kept = masked == Mask::kAll ? 0 : masked == Mask::kPadded ? test::pick(random, 1, positions) : positions;
    for (std::size_t j = 0; j < positions; ++j) mask[j] = j < kept ? 0.0f : std::numeric_limits<float>::lowest();
    if (masked != Mask::kNone) rows.mask = mask.data();
    // The first queries stand where a merged product of query, key and value leaves them.
    const auto stride = static_cast<std::int64_t>(3 * hidden);
    rows.q = packed.data();
    rows.k = packed.data() + hidden;
    rows.v = packed.data() + 2 * hidden;
    rows.q_stride = rows.kv_stride = stride;
    test::fill_normal(random, to_keys.data(), to_keys.size(), 1.0);
    test::fill_normal(random, to_queries.data(), to_queries.size(), 1.0);
    const bool keys = distances == Distances::kToKeys || distances == Distances::kBoth;
    const bool queried = distances == Distances::kToQueries || distances == Distances::kBoth;
    relative = {keys ? to_keys.data() : nullptr, queried ? to_queries.data() : nullptr,
                static_cast<std::int64_t>(stride_of_tables), static_cast<std::int64_t>(reach)};
    if (distances != Distances::kNone) rows.relative = &relative;
    shape = {static_cast<std::int64_t>(queries), static_cast<std::int64_t>(positions),
             static_cast<std::int64_t>(heads), static_cast<std::int64_t>(size)};
  }

  Status run(std::size_t begin, std::size_t end, float* target, Isa isa) {
    Guarded<char> scratch(attention_scratch_bytes(shape, rows.relative != nullptr));
    return attention_f32(shape, rows, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end), target,
                         scratch.data(), scratch.size(), isa);
  }

  Status run_half(std::size_t begin, std::size_t end, float* target) {
    Guarded<char> scratch(attention_half_scratch_bytes(shape, rows.relative != nullptr));
    return attention_half(shape, rows, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end), target,
                          scratch.data(), scratch.size());
  }

  bool sees(std::size_t i, std::size_t j) const {
    return static_cast<std::int64_t>(i < j ? j - i : i - j) <= rows.window;
  }

  std::size_t queries, positions, heads, size, hidden, reach, stride_of_tables;
  Guarded<float> packed, mask, out, to_keys, to_queries;
  RelativePositions relative{};
  AttentionRows rows{};
  AttentionShape shape{};
};

// What distances add to the score of (i, j), and the sizes of its products.
double said_by_distances(const Case& c, std::size_t i, std::size_t j, std::size_t first, double& sizes) {
  double score = 0;
  const auto add = [&](const float* table, const float* row, std::size_t column) {
    for (std::size_t n = 0; table != nullptr && n < c.size; ++n) {
      const double product = static_cast<double>(row[first + n]) * table[(first + n) * c.stride_of_tables + column];
      score += product;
      sizes += std::fabs(product);
    }
  };
  const std::size_t stride = 3 * c.hidden;
  add(c.relative.to_keys, c.rows.q + i * stride, c.reach - 1 + j - i);
  add(c.relative.to_queries, c.rows.k + j * stride, c.reach - 1 + i - j);
  return score;
}

// A score is off by D + 2 roundings of its products' sizes, and 2 more where distances add to it; a weight by twice the largest of these (its own and the
// sum's), 4 ulp of the exponential and the roundings of the sum; the result by that share of the weighted values, and
// the roundings of its own sum.
void compare_row(const Case& c, std::size_t i, std::size_t head) {
  const std::size_t stride = 3 * c.hidden, first = head * c.size;
  std::vector<double> weights(c.positions);
  double largest = -std::numeric_limits<double>::infinity(), score_off = 0;
  const double roundings = static_cast<double>(c.size) + (c.rows.relative != nullptr ? 4 : 2);
  const bool alike = c.rows.relative != nullptr && c.rows.mask != nullptr && c.rows.mask[i] != 0;  // a masked query
  for (std::size_t j = 0; j < c.positions; ++j) {
    double score = 0, sizes = 0;
    for (std::size_t n = 0; n < c.size; ++n) {
      const double product = static_cast<double>(c.rows.q[i * stride + first + n]) * c.rows.k[j * stride + first + n];
      score += product;
      sizes += std::fabs(product);
    }
    if (c.rows.relative != nullptr) score += said_by_distances(c, i, j, first, sizes);
    // What is masked is the lowest float, whatever the score: in float32 the one absorbs the other.
    const bool masked = c.rows.mask != nullptr && c.rows.mask[j] != 0;
    weights[j] = alike ? 0 : masked ? static_cast<double>(c.rows.mask[j]) : score;
    if (!c.sees(i, j)) weights[j] = -std::numeric_limits<double>::infinity();
    if (!masked && !alike && c.sees(i, j)) score_off = std::fmax(score_off, roundings * kRounding * sizes);
    largest = std::fmax(largest, weights[j]);
  }
  double total = 0;
  for (double& w : weights) total += w = std::exp(w - largest);
  const double count = static_cast<double>(c.positions);
  const double share = 2 * score_off + (count + 2 * std::fabs(std::log(total)) + 24) * kRounding;
  for (std::size_t n = 0; n < c.size; ++n) {
    double expected = 0, sizes = 0;
    for (std::size_t j = 0; j < c.positions; ++j) {
      const double part = weights[j] / total * c.rows.v[j * stride + first + n];
      expected += part;
      sizes += std::fabs(part);
    }
    const double got = c.out.data()[i * c.hidden + first + n];
    const double allowed = sizes * (share + count * kRounding) + std::numeric_limits<float>::min() * count;
    ++compared;
    if (!(std::fabs(got - expected) <= allowed)) {
      test::fail("query %zu, head %zu, %zu: got %.9g, expected %.9g, off by %.3g, allowed %.3g", i, head, n, got, expected,
                 std::fabs(got - expected), allowed);
      return;
    }
  }
}

void compare(Random& random, std::size_t queries, std::size_t positions, std::size_t heads, std::size_t size, Mask mask,
             Distances distances, std::int64_t window, Isa isa) {
  char text[160];
  std::snprintf(text, sizeof text, "%s queries=%zu positions=%zu heads=%zu D=%zu mask=%d distances=%d window=%lld",
                isa_name(isa), queries, positions, heads, size, static_cast<int>(mask), static_cast<int>(distances),
                static_cast<long long>(window));
  test::context = text;
  Case c(random, queries, positions, heads, size, mask, distances);
  c.rows.window = window;
  CHECK(c.run(0, heads, c.out.data(), isa) == Status::kOk);
  for (std::size_t i = 0; i < queries; i += queries > 40 ? 7 : 1) {
    for (std::size_t head = 0; head < heads; ++head) compare_row(c, i, head);
  }
  // Split over ranges of heads: the same bits.
  Guarded<float> again(c.out.size());
  const std::size_t middle = test::pick(random, 0, heads);
  CHECK(c.run(middle, heads, again.data(), isa) == Status::kOk);
  CHECK(c.run(0, middle, again.data(), isa) == Status::kOk);
  CHECK(std::memcmp(again.data(), c.out.data(), again.size() * sizeof(float)) == 0);
}

// A value that is no number stays in its head; a query that is none, in its row.
void hostile(Random& random, Isa isa) {
  test::context = std::string(isa_name(isa)) + ", hostile";
  Case c(random, 5, 9, 2, 8, Mask::kNone);
  c.packed[2 * 3 * c.hidden] = std::numeric_limits<float>::quiet_NaN();  // query 2, head 0
  CHECK(c.run(0, 2, c.out.data(), isa) == Status::kOk);
  for (std::size_t i = 0; i < 5; ++i) {
    for (std::size_t n = 0; n < c.hidden; ++n) {
      CHECK(std::isnan(c.out[i * c.hidden + n]) == (i == 2 && n < c.size));
    }
  }
}

// Half precision, whose unit is 2^-11. A score is off by the roundings of its factors and of every partial sum, in powers
// of two; what is taken from it to a weight, by one of at most 22; 2^f by 5.7e-4; a weight below 2^-13 of what a sum of 64
// still holds is dropped; the weighted values are off by the roundings of their own factors and of every partial sum.
constexpr double kHalf = 0x1p-11;
double half_error = 0, half_size = 0;

void compare_half_row(const Case& c, std::size_t i, std::size_t head) {
  const std::size_t stride = 3 * c.hidden, first = head * c.size;
  std::vector<double> weights(c.positions), off(c.positions);
  double largest = -std::numeric_limits<double>::infinity(), largest_value = 0, total = 0, total_off = 0;
  for (std::size_t j = 0; j < c.positions; ++j) {
    double score = 0, roundings = 0;
    for (std::size_t n = 0; n < c.size; ++n) {
      const double product = static_cast<double>(c.rows.q[i * stride + first + n]) * c.rows.k[j * stride + first + n];
      score += product;
      roundings += 3 * std::fabs(product) + std::fabs(score);
      largest_value = std::fmax(largest_value, std::fabs(c.rows.v[j * stride + first + n]));
    }
    const bool masked = c.rows.mask != nullptr && c.rows.mask[j] != 0;
    weights[j] = masked ? static_cast<double>(c.rows.mask[j]) : score;
    if (!c.sees(i, j)) weights[j] = -std::numeric_limits<double>::infinity();
    off[j] = kHalf * (roundings + std::fabs(score) + 22 * std::log(2.0)) * 1.05 + 5.7e-4;
    largest = std::fmax(largest, weights[j]);
  }
  for (std::size_t j = 0; j < c.positions; ++j) {
    total += weights[j] = std::exp(weights[j] - largest);
    off[j] = weights[j] * std::expm1(off[j]);
    total_off += off[j];
  }
  // Sums begin with the first columns that this query's block of eight looks at.
  const auto seen_from = static_cast<std::int64_t>(i / 8 * 8) - c.rows.window;
  const std::size_t begin = seen_from > 0 ? static_cast<std::size_t>(seen_from) / 16 * 16 : 0;
  const double dropped = std::exp2(-13) / std::fmax(1.0, std::exp2(std::floor(std::log2(512 / largest_value))));
  for (std::size_t n = 0; n < c.size; ++n) {
    double expected = 0, allowed = 0, sum = 0;
    for (std::size_t j = 0; j < c.positions; ++j) {
      const double value = c.rows.v[j * stride + first + n];
      expected += weights[j] / total * value;
      sum = j >= begin && (j - begin) % 64 == 0 ? 0 : sum;
      sum += weights[j] / total * value;
      allowed += std::fabs(value) / total * (off[j] + 2 * kHalf * weights[j] + 2 * dropped) + kHalf * (std::fabs(sum) + std::fabs(expected));
    }
    allowed += std::fabs(expected) * (total_off / total + kHalf);
    const double got = c.out.data()[i * c.hidden + first + n];
    ++compared;
    half_error += (got - expected) * (got - expected);
    half_size += expected * expected;
    if (!(std::fabs(got - expected) <= allowed)) {
      test::fail("query %zu, head %zu, %zu: got %.9g, expected %.9g, off by %.3g, allowed %.3g", i, head, n, got, expected,
                 std::fabs(got - expected), allowed);
      return;
    }
  }
}

// None, or one that holds the query alone, a few keys, about half of them, or more than all.
std::int64_t any_window(Random& random, std::size_t positions) {
  const auto count = static_cast<std::int64_t>(positions);
  const std::int64_t windows[] = {spartan::kMaxPositions, 0, 5, count / 2, count + 3};
  return windows[random() % 5];
}

// Whether both give the same bits.
bool half_is_float(Case& c) {
  Guarded<float> other(c.out.size());
  CHECK(c.run(0, c.heads, c.out.data(), Isa::kBest) == Status::kOk);
  CHECK(c.run_half(0, c.heads, other.data()) == Status::kOk);
  return std::memcmp(other.data(), c.out.data(), other.size() * sizeof(float)) == 0;
}

void half_precision(Random& random) {
  const bool here = spartan::best_isa_attention_half() == Isa::kNeonHalf;
  std::uint64_t number = 0;
  for (const std::size_t positions : {1, 2, 3, 7, 8, 9, 13, 16, 17, 33, 64, 65, 128, 200}) {
    for (const std::size_t size : {1, 4, 8, 15, 16, 17, 32, 33, 64, 65}) {
      if (number++ % test::share != 0) continue;
      const auto mask = static_cast<Mask>(random() % 3);
      const std::size_t queries = random() % 4 == 0 ? 1 : positions;
      char text[160];
      const std::int64_t window = any_window(random, positions);
      std::snprintf(text, sizeof text, "half queries=%zu positions=%zu D=%zu mask=%d window=%lld", queries, positions, size,
                    static_cast<int>(mask), static_cast<long long>(window));
      test::context = text;
      Case c(random, queries, positions, 2, size, mask);
      c.rows.window = window;
      if (!here || size > 64 || mask == Mask::kAll) {
        CHECK(half_is_float(c));
        continue;
      }
      CHECK(c.run_half(0, 2, c.out.data()) == Status::kOk);
      for (std::size_t i = 0; i < queries; i += queries > 40 ? 7 : 1) {
        for (std::size_t head = 0; head < 2; ++head) compare_half_row(c, i, head);
      }
      Guarded<float> again(c.out.size());
      CHECK(c.run_half(1, 2, again.data()) == Status::kOk);
      CHECK(c.run_half(0, 1, again.data()) == Status::kOk);
      CHECK(std::memcmp(again.data(), c.out.data(), again.size() * sizeof(float)) == 0);
    }
  }
  if (here) {
    test::context = "half, all numbers";  // scores of a standard deviation of up to 8, whose last bit shows in a weight
    const double relative = std::sqrt(half_error / half_size);
    std::printf("attention, half: tested, off by %.2g of the results' size\n", relative);
    CHECK(relative > 0 && relative < 6e-3);
  }
  // What half precision has no room for is computed in float.
  const float hostile[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e30f, 600.0f};
  for (const float value : hostile) {
    for (const std::size_t part : {0, 1, 2}) {  // a query, a key, a value of the one head
      Case c(random, 9, 9, 1, 64, Mask::kNone);
      c.packed[3 * 3 * c.hidden + part * c.hidden + 5] = value;
      test::context = "half, a number of " + std::to_string(value) + " in part " + std::to_string(part);
      CHECK(half_is_float(c));
    }
  }
  for (const double scale : {1e-12, 40.0, 1e4}) {  // values too small, scores too large, sums too large
    Case c(random, 20, 20, 1, 64, Mask::kNone);
    for (std::size_t n = 0; n < c.packed.size(); ++n) c.packed[n] *= static_cast<float>(scale);
    test::context = "half, all numbers times " + std::to_string(scale);
    CHECK(half_is_float(c));
  }
  test::context = "half, distances";
  Case c(random, 5, 9, 2, 8, Mask::kPadded, Distances::kBoth);
  CHECK(half_is_float(c));
}

void refusals(Random& random) {
  test::context = "refusals";
  Case c(random, 2, 2, 1, 4, Mask::kNone);
  char scratch[16];
  const auto status = [&](const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin, std::int64_t end,
                          float* out) { return attention_f32(shape, rows, begin, end, out, scratch, sizeof scratch); };
  CHECK(status(c.shape, c.rows, 0, 1, c.out.data()) == Status::kScratchTooSmall);
  CHECK(status(c.shape, c.rows, 0, 2, c.out.data()) == Status::kBadRange);
  CHECK(status(c.shape, c.rows, 1, 0, c.out.data()) == Status::kBadRange);
  CHECK(status(c.shape, c.rows, 0, 1, nullptr) == Status::kNullPointer);
  CHECK(status({-1, 2, 1, 4}, c.rows, 0, 1, c.out.data()) == Status::kBadQueries);
  CHECK(status({2, 0, 1, 4}, c.rows, 0, 1, c.out.data()) == Status::kBadPositions);
  CHECK(status({2, 2, 0, 4}, c.rows, 0, 1, c.out.data()) == Status::kBadHeads);
  CHECK(status({2, 2, spartan::kMaxHeads + 1, 4}, c.rows, 0, 1, c.out.data()) == Status::kBadHeads);
  CHECK(status({2, 2, 1, 0}, c.rows, 0, 1, c.out.data()) == Status::kBadHeadSize);
  CHECK(status({2, 2, 1, spartan::kMaxHeadSize + 1}, c.rows, 0, 1, c.out.data()) == Status::kBadHeadSize);
  CHECK(spartan::attention_scratch_bytes({2, 2, 1, 0}) == 0);
  Case d(random, 2, 2, 1, 4, Mask::kNone, Distances::kBoth);
  CHECK(status(d.shape, d.rows, 0, 1, d.out.data()) == Status::kScratchTooSmall);
  CHECK(status({3, 2, 1, 4}, d.rows, 0, 1, d.out.data()) == Status::kBadQueries);
  d.relative.reach = 1;
  CHECK(status(d.shape, d.rows, 0, 1, d.out.data()) == Status::kBadReach);
  d.relative.reach = static_cast<std::int64_t>(d.stride_of_tables);
  CHECK(status(d.shape, d.rows, 0, 1, d.out.data()) == Status::kBadReach);
  d.relative.reach = static_cast<std::int64_t>(d.reach);
  d.rows.window = 1;  // beside tables of distances
  CHECK(status(d.shape, d.rows, 0, 1, d.out.data()) == Status::kBadReach);
  CHECK(status(c.shape, c.rows, 0, 0, nullptr) == Status::kOk);
  c.rows.window = -1;
  CHECK(status(c.shape, c.rows, 0, 1, c.out.data()) == Status::kBadReach);
  c.rows.window = 1;
  CHECK(status({3, 2, 1, 4}, c.rows, 0, 1, c.out.data()) == Status::kBadQueries);
}

bool has(Isa isa, Random& random) {
  Case c(random, 1, 1, 1, 1, Mask::kNone);
  return c.run(0, 1, c.out.data(), isa) == Status::kOk;
}

}  // namespace

int main(int argc, char** argv) {
  test::read_arguments(argc, argv);
  Random random(test::seed);
  test::each_f32_isa("attention", [&](Isa isa) { return has(isa, random); }, [&](Isa isa) {
    hostile(random, isa);
    std::uint64_t number = 0;
    for (const std::size_t positions : {1, 2, 3, 5, 8, 12, 13, 15, 16, 17, 31, 33, 64, 128}) {
      for (const std::size_t size : {1, 4, 8, 15, 16, 17, 32, 64, 65}) {
        if (number++ % test::share != 0) continue;
        const auto mask = static_cast<Mask>(random() % 3);
        const std::size_t queries = random() % 4 == 0 ? 1 : positions;
        compare(random, queries, positions, test::pick(random, 1, 3), size, mask, Distances::kNone, spartan::kMaxPositions, isa);
        compare(random, queries, positions, test::pick(random, 1, 3), size, mask, Distances::kNone,
                any_window(random, positions), isa);
        const auto distances = static_cast<Distances>(1 + random() % 4);
        compare(random, queries, positions, test::pick(random, 1, 3), size, mask, distances, spartan::kMaxPositions, isa);
      }
    }
  });
  half_precision(random);
  refusals(random);
  CHECK(compared > 1000);
  std::printf("%zu numbers compared, %d failures\n", compared, test::failures);
  return test::failures == 0 ? 0 : 1;
}
