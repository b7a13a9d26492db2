// Attention: every instruction set of this machine against float64, over shapes, splits, masks and hostile values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/features.h"
#include "spartan/attention.h"
#include "support.h"

namespace {

using spartan::AttentionRows;
using spartan::AttentionShape;
using spartan::Isa;
using Status = spartan::AttentionStatus;
using test::Guarded;
using test::Random;

constexpr double kRounding = std::numeric_limits<float>::epsilon() / 2;
std::size_t compared = 0;

enum class Mask { kNone, kPadded, kAll };

struct Case {
  Case(Random& random, std::size_t queries_, std::size_t positions_, std::size_t heads_, std::size_t size_, Mask masked)
      : queries(queries_), positions(positions_), heads(heads_), size(size_), hidden(heads_ * size_),
        packed(positions_ * 3 * hidden), mask(positions_), out(queries_ * hidden) {
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
    shape = {static_cast<std::int64_t>(queries), static_cast<std::int64_t>(positions),
             static_cast<std::int64_t>(heads), static_cast<std::int64_t>(size)};
  }

  Status run(std::size_t begin, std::size_t end, float* target, Isa isa) {
    Guarded<char> scratch(attention_scratch_bytes(shape));
    return attention_f32(shape, rows, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end), target,
                         scratch.data(), scratch.size(), isa);
  }

  std::size_t queries, positions, heads, size, hidden;
  Guarded<float> packed, mask, out;
  AttentionRows rows{};
  AttentionShape shape{};
};

// A score is off by D + 2 roundings of its products' sizes; a weight by twice the largest of these (its own and the
// sum's), 4 ulp of the exponential and the roundings of the sum; the result by that share of the weighted values, and
// the roundings of its own sum.
void compare_row(const Case& c, std::size_t i, std::size_t head) {
  const std::size_t stride = 3 * c.hidden, first = head * c.size;
  std::vector<double> weights(c.positions);
  double largest = -std::numeric_limits<double>::infinity(), score_off = 0;
  for (std::size_t j = 0; j < c.positions; ++j) {
    double score = 0, sizes = 0;
    for (std::size_t n = 0; n < c.size; ++n) {
      const double product = static_cast<double>(c.rows.q[i * stride + first + n]) * c.rows.k[j * stride + first + n];
      score += product;
      sizes += std::fabs(product);
    }
    // What is masked is the lowest float, whatever the score: in float32 the one absorbs the other.
    const bool masked = c.rows.mask != nullptr && c.rows.mask[j] != 0;
    weights[j] = masked ? static_cast<double>(c.rows.mask[j]) : score;
    if (!masked) score_off = std::fmax(score_off, (static_cast<double>(c.size) + 2) * kRounding * sizes);
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
             Isa isa) {
  char text[140];
  std::snprintf(text, sizeof text, "%s queries=%zu positions=%zu heads=%zu D=%zu mask=%d", isa_name(isa), queries,
                positions, heads, size, static_cast<int>(mask));
  test::context = text;
  Case c(random, queries, positions, heads, size, mask);
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
  CHECK(status(c.shape, c.rows, 0, 0, nullptr) == Status::kOk);
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
        compare(random, queries, positions, test::pick(random, 1, 3), size, mask, isa);
      }
    }
  });
  refusals(random);
  CHECK(compared > 1000);
  std::printf("%zu numbers compared, %d failures\n", compared, test::failures);
  return test::failures == 0 ? 0 : 1;
}
