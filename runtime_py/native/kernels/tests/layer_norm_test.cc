// LayerNorm of a sum: every instruction set of this machine against float64, over shapes, splits and hostile values.
#include <cmath>
#include <limits>

#include "cpu/features.h"
#include "spartan/layer_norm.h"
#include "support.h"

namespace {

using spartan::Isa;
using spartan::LayerNorm;
using spartan::Status;
using test::Guarded;
using test::Random;

constexpr double kRounding = std::numeric_limits<float>::epsilon() / 2;
std::size_t compared = 0;

struct Row {
  std::vector<double> out, tolerance;
};

// Additions of floats one after the other: none in plain code, which adds in double; with vectors at least 16 sums side
// by side, then what is left of a register and the sums themselves.
double chain(std::size_t n, Isa isa) {
  const auto count = static_cast<double>(n);
  return isa == Isa::kPortable ? 0 : std::fmin(count, count / 16 + 24);
}

// The LayerNorm of the sum in float32, which is rounded once. What vectors are off by, to first order, with u one
// rounding and d = s - near_mean, which differs from s - mean by `shift`:
//   shift     u of the mean, and a chain of k additions of distances to the first number, k u of the sum of their sizes
//   s - mean  u of d, and k + 2 roundings of the mean size of d, by which the mean is corrected
//   variance  k + 4 roundings of the mean of d^2, and what the correction is off by, twice the shift
// So a large mean costs nothing, and in a level row all of these are exactly 0.
Row reference(const float* x, const float* residual, const float* weight, const float* bias, double eps,
              std::size_t hidden, double additions) {
  constexpr double u = kRounding;
  const auto n = static_cast<double>(hidden);
  std::vector<double> s(hidden);
  double sum = 0;
  for (std::size_t h = 0; h < hidden; ++h) {
    s[h] = residual != nullptr ? x[h] + residual[h] : x[h];
    sum += s[h] - s[0];
  }
  const double mean = s[0] + sum / n;
  double variance = 0, from_first = 0, from_mean = 0;
  for (const double v : s) {
    variance += (v - mean) * (v - mean) / n;
    from_first += std::fabs(v - s[0]) / n;
    from_mean += std::fabs(v - mean) / n;
  }
  const double shift = from_first == 0 ? 0 : u * std::fabs(mean) + (additions + 4) * u * from_first;
  const double mean_off = (additions + 2) * u * (from_mean + shift);
  const double variance_off = (additions + 6) * u * (variance + shift * shift) + 2 * shift * mean_off;
  const double scale = 1 / std::sqrt(variance + eps);
  const double scale_off = scale * (0.5 * variance_off * scale * scale + 4 * u);
  Row row;
  for (std::size_t h = 0; h < hidden; ++h) {
    const double centred = s[h] - mean, normal = centred * scale;
    row.out.push_back(normal * weight[h] + (bias != nullptr ? bias[h] : 0.0f));
    const double number_off = 3 * u * (std::fabs(centred) + shift) + mean_off;
    const double off = number_off * scale + std::fabs(centred) * scale_off;
    const double last = 3 * u * (std::fabs(row.out[h]) + std::fabs(normal * weight[h]));
    row.tolerance.push_back(off * std::fabs(weight[h]) + last + std::numeric_limits<float>::min());
  }
  return row;
}

enum class Kind { kPlain, kLevel, kNearlyLevel, kLargeMean, kOutlier };
constexpr Kind kKinds[] = {Kind::kPlain, Kind::kLevel, Kind::kNearlyLevel, Kind::kLargeMean, Kind::kOutlier};

// One row and what is added to it.
void fill_row(Random& random, Kind kind, std::size_t hidden, float* x, float* residual) {
  test::fill_normal(random, x, hidden, 1.0);
  test::fill_normal(random, residual, hidden, 2.0);
  if (kind == Kind::kPlain) return;
  const float level = 200 * test::normal(random), outlier = 1e4f * test::normal(random);
  for (std::size_t h = 0; h < hidden; ++h) {
    residual[h] = level / 3;
    switch (kind) {
      case Kind::kLevel: x[h] = level; break;
      case Kind::kNearlyLevel: x[h] = level * (1 + static_cast<float>(random() % 3) * 0x1p-23f); break;
      case Kind::kLargeMean: x[h] = 1000 + x[h] / 100; break;
      default: break;
    }
  }
  if (kind == Kind::kOutlier) x[random() % hidden] = outlier;
}

void compare(Random& random, std::size_t rows, std::size_t hidden, Isa isa, Kind kind) {
  Guarded<float> x(rows * hidden), residual(rows * hidden), weight(hidden), bias(hidden), out(rows * hidden);
  for (std::size_t r = 0; r < rows; ++r) {
    fill_row(random, kind, hidden, x.data() + r * hidden, residual.data() + r * hidden);
  }
  test::fill_normal(random, weight.data(), hidden, 1.0);
  test::fill_normal(random, bias.data(), hidden, 1.0);
  const bool has_residual = random() % 3 != 0, has_bias = random() % 4 != 0;
  const float* added = has_residual ? residual.data() : nullptr;
  const float* moved = has_bias ? bias.data() : nullptr;
  const float eps = random() % 2 == 0 ? 1e-5f : 1e-12f;
  const LayerNorm norm{static_cast<std::int64_t>(hidden), weight.data(), moved, eps};
  char text[120];
  std::snprintf(text, sizeof text, "%s rows=%zu H=%zu residual=%d bias=%d eps=%g kind=%d", isa_name(isa), rows, hidden,
                has_residual, has_bias, static_cast<double>(eps), static_cast<int>(kind));
  test::context = text;
  const auto count = static_cast<std::int64_t>(rows);
  CHECK(add_layer_norm_f32(norm, x.data(), added, 0, count, out.data(), isa) == Status::kOk);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t at = r * hidden;
    const Row expected = reference(x.data() + at, has_residual ? added + at : nullptr, weight.data(), moved, eps, hidden,
                                   chain(hidden, isa));
    ++compared;
    for (std::size_t h = 0; h < hidden; ++h) {
      if (kind == Kind::kLevel) CHECK(out[at + h] == (has_bias ? bias[h] : 0.0f));
      const double off = std::fabs(out[at + h] - expected.out[h]);
      if (!(off <= expected.tolerance[h])) {
        test::fail("row %zu, h %zu: got %.9g, expected %.9g, off by %.3g, allowed %.3g", r, h,
                   static_cast<double>(out[at + h]), expected.out[h], off, expected.tolerance[h]);
        return;
      }
    }
  }
  // Split, and in place over either operand: the same bits; rows outside the range stay as they are.
  Guarded<float> again(rows * hidden);
  const bool over_residual = has_residual && random() % 2 == 0;
  float* target = over_residual ? residual.data() : x.data();
  std::memcpy(again.data(), target, again.size() * sizeof(float));
  const auto middle = static_cast<std::int64_t>(test::pick(random, 0, rows));
  CHECK(add_layer_norm_f32(norm, x.data(), added, middle, count, target, isa) == Status::kOk);
  const std::size_t kept = static_cast<std::size_t>(middle) * hidden;
  CHECK(std::memcmp(target, again.data(), kept * sizeof(float)) == 0);
  CHECK(add_layer_norm_f32(norm, x.data(), added, 0, middle, target, isa) == Status::kOk);
  CHECK(std::memcmp(target, out.data(), out.size() * sizeof(float)) == 0);
}

// What is not a number stays in its row.
void hostile_rows(Isa isa) {
  test::context = isa_name(isa);
  constexpr std::size_t kHidden = 37;
  Guarded<float> x(3 * kHidden), weight(kHidden), out(3 * kHidden);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7);
  for (float& w : weight) w = 1;
  x[kHidden + 36] = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t h = 0; h < kHidden; ++h) x[2 * kHidden + h] = 5;  // no deviation at all
  const LayerNorm norm{kHidden, weight.data(), nullptr, 1e-5f};
  CHECK(add_layer_norm_f32(norm, x.data(), nullptr, 0, 3, out.data(), isa) == Status::kOk);
  for (std::size_t h = 0; h < kHidden; ++h) {
    CHECK(std::isfinite(out[h]));
    CHECK(std::isnan(out[kHidden + h]));
    CHECK(out[2 * kHidden + h] == 0);
  }
}

void refusals() {
  test::context = "refusals";
  float one = 1;
  const LayerNorm good{1, &one, nullptr, 0};
  CHECK(spartan::add_layer_norm_f32(good, &one, nullptr, 0, 1, nullptr) == Status::kNullPointer);
  CHECK(spartan::add_layer_norm_f32(good, nullptr, nullptr, 0, 1, &one) == Status::kNullPointer);
  CHECK(spartan::add_layer_norm_f32(good, nullptr, nullptr, 0, 0, nullptr) == Status::kOk);
  CHECK(spartan::add_layer_norm_f32(good, &one, nullptr, 1, 0, &one) == Status::kBadRange);
  CHECK(spartan::add_layer_norm_f32(good, &one, nullptr, -1, 0, &one) == Status::kBadRange);
  CHECK(spartan::add_layer_norm_f32({0, &one, nullptr, 0}, &one, nullptr, 0, 1, &one) == Status::kBadHidden);
  CHECK(spartan::add_layer_norm_f32({1, nullptr, nullptr, 0}, &one, nullptr, 0, 1, &one) == Status::kNullPointer);
  CHECK(spartan::add_layer_norm_f32({1, &one, nullptr, -1}, &one, nullptr, 0, 1, &one) == Status::kBadNorm);
  CHECK(spartan::add_layer_norm_f32({1, &one, nullptr, NAN}, &one, nullptr, 0, 1, &one) == Status::kBadNorm);
#if defined(__x86_64__)
  CHECK(spartan::add_layer_norm_f32(good, &one, nullptr, 0, 1, &one, Isa::kNeon) == Status::kNoSuchKernel);
#else
  CHECK(spartan::add_layer_norm_f32(good, &one, nullptr, 0, 1, &one, Isa::kAvx2) == Status::kNoSuchKernel);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  test::read_arguments(argc, argv);
  Random random(test::seed);
  const auto has = [](Isa isa) {
    float one = 1, out = 0;
    return spartan::add_layer_norm_f32({1, &one, nullptr, 1}, &one, nullptr, 0, 1, &out, isa) == Status::kOk;
  };
  test::each_f32_isa("layer_norm", has, [&](Isa isa) {
    hostile_rows(isa);
    std::uint64_t shape = 0;
    for (const std::size_t hidden : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 384, 768, 1024}) {
      for (const std::size_t rows : {1, 2, 5, 128}) {
        if (shape++ % test::share != 0) continue;
        for (const Kind kind : kKinds) compare(random, rows, hidden, isa, kind);
      }
    }
  });
  refusals();
  CHECK(compared > 100);
  std::printf("%zu rows compared, %d failures\n", compared, test::failures);
  return test::failures == 0 ? 0 : 1;
}
