// The int8 linear against 64-bit integers and float64, on every kernel that this machine has, forced one by one.
#include <algorithm>
#include <cmath>
#include <limits>

#include "spartan/linear_int8.h"
#include "support.h"

namespace {

using spartan::Isa;
using spartan::LinearShape;
using spartan::LinearStatus;
using test::Guarded;

constexpr Isa kKernels[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni,
                            Isa::kAmx,      Isa::kNeon, Isa::kNeonDot, Isa::kNeonHalf};
constexpr double kEpsilon = 0x1p-24;

// A layer, its packed form, and inputs; all in guarded buffers.
struct Layer {
  LinearShape shape;
  std::vector<std::int8_t> w;  // [N, K]
  Guarded<std::int8_t> blocks;
  Guarded<float> scales, bias;
  Guarded<std::int32_t> sums;
  Guarded<float> x;

  Layer(test::Random& random, const LinearShape& s)
      : shape(s),
        w(static_cast<std::size_t>(s.outputs * s.inputs)),
        blocks(static_cast<std::size_t>((s.outputs + 15) / 16 * ((s.inputs + 63) / 64) * 1024)),
        scales(static_cast<std::size_t>(s.outputs)),
        bias(static_cast<std::size_t>(s.outputs)),
        sums(static_cast<std::size_t>(s.outputs)),
        x(static_cast<std::size_t>(s.rows * s.inputs)) {
    std::fill(blocks.begin(), blocks.end(), std::int8_t{0});
    const std::int64_t input_blocks = (s.inputs + 63) / 64;
    for (std::int64_t n = 0; n < s.outputs; ++n) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < s.inputs; ++k) {
        // Every eighth weight lies at an end of the range: that is where narrower sums would saturate.
        const bool extreme = random() % 8 == 0;
        const auto value = static_cast<std::int8_t>(extreme ? (random() % 2 ? -127 : 127) : static_cast<int>(random() % 255) - 127);
        w[static_cast<std::size_t>(n * s.inputs + k)] = value;
        const std::int64_t block = n / 16 * input_blocks + k / 64;
        blocks[static_cast<std::size_t>(block * 1024 + k % 64 / 4 * 64 + n % 16 * 4 + k % 4)] = value;
        sum += value;
      }
      sums[static_cast<std::size_t>(n)] = sum;
    }
    for (float& value : scales) value = 0.001f + 0.01f * std::abs(test::normal(random));
    test::fill_normal(random, bias.data(), bias.size(), 1.0);
    test::fill_normal(random, x.data(), x.size(), 1.0);
  }

  float* row(std::int64_t r) { return x.data() + r * shape.inputs; }
  spartan::LinearInt8Weights weights(bool with_bias, bool gelu) const {
    return {blocks.data(), scales.data(), sums.data(), with_bias ? bias.data() : nullptr, gelu};
  }
};

// Runs a layer in ranges of rows and units that end at random places.
void run(test::Random& random, const Layer& layer, const spartan::LinearInt8Weights& weights, Isa kernel,
         Guarded<float>& out) {
  const std::size_t size = spartan::linear_int8_scratch_bytes(layer.shape);
  Guarded<char> scratch(size);
  std::fill(scratch.begin(), scratch.end(), char{0x5a});
  std::fill(out.begin(), out.end(), -777.0f);
  const auto in_parts = [&](std::int64_t count, auto call) {
    for (std::int64_t begin = 0; begin < count;) {
      const std::int64_t end = begin + static_cast<std::int64_t>(test::pick(random, 1, static_cast<std::size_t>(count - begin)));
      CHECK(call(begin, end) == LinearStatus::kOk);
      begin = end;
    }
  };
  in_parts(layer.shape.rows, [&](std::int64_t begin, std::int64_t end) {
    return linear_int8_quantize(layer.shape, layer.x.data(), begin, end, scratch.data(), size, kernel);
  });
  in_parts(linear_int8_units(layer.shape), [&](std::int64_t begin, std::int64_t end) {
    return linear_int8_multiply(layer.shape, weights, scratch.data(), size, begin, end, out.data(), kernel);
  });
}

struct Quantized {
  double step;
  std::int64_t zero;
  std::vector<std::int64_t> q;
};

// The header's formula, spelled out once more.
Quantized quantize(const float* row, std::int64_t inputs) {
  float low = 0, high = 0;
  for (std::int64_t k = 0; k < inputs; ++k) {
    low = std::min(low, row[k]);
    high = std::max(high, row[k]);
  }
  const float step = high / 255.0f - low / 255.0f, inverse = 1.0f / step;
  Quantized made{step, 0, std::vector<std::int64_t>(static_cast<std::size_t>(inputs), 0)};
  if (std::isinf(inverse)) return {1.0, 0, made.q};
  made.zero = std::lrint(std::clamp(low * inverse + (255.0f + high * inverse) > 0 ? -(low * inverse) : 255.0f - high * inverse,
                                    0.0f, 255.0f));
  for (std::int64_t k = 0; k < inputs; ++k) {
    const float scaled = row[k] * inverse;
    made.q[static_cast<std::size_t>(k)] = std::clamp<std::int64_t>(std::lrint(scaled) + made.zero, 0, 255);
  }
  return made;
}

double gelu(double x) { return x * std::erfc(-x / std::sqrt(2.0)) / 2; }

// How far a kernel's gelu(x) may be off, in parts of min(1, 2 |x|) in half precision: fit and roundings of what is taken
// from max(x, 0) are 4.9e-4 at most over all numbers of that precision, and rounding x moves it by 2^-12 |x| at most.
double gelu_error(Isa kernel, double x) {
  if (kernel == Isa::kNeonHalf) return 6.2e-4 * std::min(1.0, 2 * std::abs(x)) + 1e-7;
  return 1e-6 * std::abs(gelu(x)) + 1e-9;
}

void compare(const Layer& layer, bool with_bias, bool gelu_follows, const Guarded<float>& out, Isa kernel) {
  const std::int64_t k_count = layer.shape.inputs;
  for (std::int64_t r = 0; r < layer.shape.rows; ++r) {
    const float* row = layer.x.data() + r * k_count;
    const Quantized x = quantize(row, k_count);
    for (std::int64_t n = 0; n < layer.shape.outputs; ++n) {
      const std::int8_t* w = layer.w.data() + n * k_count;
      std::int64_t sum = 0;
      double real = 0, magnitude = 0;
      for (std::int64_t k = 0; k < k_count; ++k) {
        sum += (x.q[static_cast<std::size_t>(k)] - x.zero) * w[k];
        real += static_cast<double>(row[k]) * w[k];
        magnitude += std::abs(static_cast<double>(w[k]));
      }
      const double scale = layer.scales[static_cast<std::size_t>(n)];
      const double bias = with_bias ? layer.bias[static_cast<std::size_t>(n)] : 0.0;
      const double product = static_cast<double>(sum) * x.step * scale;
      const double y = product + bias;
      // Of y: the sum to float, two products, one addition. GELU's slope is at most 1.13.
      const double rounding = 3.1 * kEpsilon * std::abs(product) + kEpsilon * std::abs(y);
      const double expected = gelu_follows ? gelu(y) : y;
      const double allowed = gelu_follows ? 1.13 * rounding + gelu_error(kernel, y) : rounding;
      const float got = out[static_cast<std::size_t>(r * layer.shape.outputs + n)];
      if (!(std::abs(got - expected) <= allowed)) {
        test::fail("row %d output %d: %.9g, expected %.9g within %.3g", static_cast<int>(r), static_cast<int>(n), got,
                   expected, allowed);
        return;
      }
      // And of the exact product: half a step for each input, another half where the range's end is cut off.
      const double quantization = x.step * magnitude * scale * 1.001 + 1e-30;
      if (!gelu_follows && !(std::abs(y - (real * scale + bias)) <= quantization)) {
        test::fail("row %d output %d: %.9g, fp64 %.9g", static_cast<int>(r), static_cast<int>(n), y, real * scale + bias);
        return;
      }
    }
  }
}

void try_shape(std::uint64_t number, const LinearShape& shape) {
  for (const Isa kernel : kKernels) {
    if (!has_linear_kernel(kernel)) continue;
    test::Random random(test::seed + number);
    Layer layer(random, shape);
    if (number % 3 == 0) std::fill_n(layer.row(0), shape.inputs, 0.0f);
    if (number % 3 == 1) std::fill_n(layer.row(shape.rows - 1), shape.inputs, number % 2 ? 4.25f : -4.25f);
    if (number % 3 == 2) layer.row(shape.rows / 2)[shape.inputs / 2] = number % 2 ? 1e30f : -1e30f;
    Guarded<float> out(static_cast<std::size_t>(shape.rows * shape.outputs)), portable(out.size());
    for (const int form : {0, 1, 2, 3}) {
      const bool with_bias = form % 2, gelu_follows = form / 2;
      test::context = std::string(isa_name(kernel)) + " " + std::to_string(shape.rows) + "x" +
                      std::to_string(shape.inputs) + "x" + std::to_string(shape.outputs) + " form " + std::to_string(form);
      run(random, layer, layer.weights(with_bias, gelu_follows), kernel, out);
      compare(layer, with_bias, gelu_follows, out, kernel);
      if (gelu_follows) continue;
      run(random, layer, layer.weights(with_bias, false), Isa::kPortable, portable);
      CHECK(std::memcmp(out.data(), portable.data(), out.size() * sizeof(float)) == 0);
    }
  }
}

void shapes() {
  const std::int64_t rows[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 65};
  const std::int64_t inputs[] = {1, 3, 4, 63, 64, 65, 127, 130, 320};
  const std::int64_t outputs[] = {1, 7, 15, 16, 17, 31, 32, 33, 48, 80};
  std::uint64_t number = 0;
  for (const std::int64_t r : rows) {
    for (const std::int64_t k : inputs) {
      for (const std::int64_t n : outputs) {
        if (number++ % test::share == 0) try_shape(number, {r, k, n});
      }
    }
  }
  try_shape(1, {1, 768, 768});
  try_shape(2, {16, 3072, 64});
  try_shape(3, {128, 384, 96});
  try_shape(4, {2, 65536, 3});
}

// All inputs 255 steps from zero, all weights -127: the largest sum there is fits.
void extremes() {
  for (const Isa kernel : kKernels) {
    if (!has_linear_kernel(kernel)) continue;
    test::context = std::string("extremes ") + isa_name(kernel);
    test::Random random(test::seed);
    Layer layer(random, {2, spartan::kMaxLinearInputs, 17});
    std::fill(layer.w.begin(), layer.w.end(), std::int8_t{-127});
    std::fill(layer.sums.begin(), layer.sums.end(), -127 * static_cast<std::int32_t>(layer.shape.inputs));
    for (std::int64_t n = 0; n < 32; ++n) {
      for (std::int64_t k = 0; n < 17 && k < layer.shape.inputs; ++k) {
        layer.blocks[static_cast<std::size_t>((n / 16 * 1024 + k / 64) * 1024 + k % 64 / 4 * 64 + n % 16 * 4 + k % 4)] = -127;
      }
    }
    std::fill_n(layer.row(0), layer.shape.inputs, 3.0f);
    std::fill_n(layer.row(1), layer.shape.inputs, -3.0f);
    Guarded<float> out(2 * 17);
    run(random, layer, layer.weights(true, false), kernel, out);
    compare(layer, true, false, out, kernel);
  }
}

void rows_that_are_no_numbers() {
  const float wrong[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                         -std::numeric_limits<float>::infinity()};
  for (const Isa kernel : kKernels) {
    if (!has_linear_kernel(kernel)) continue;
    for (const std::int64_t inputs : {1, 5, 16, 17, 100}) {
      for (const float value : wrong) {
        for (const bool gelu_follows : {false, true}) {
          test::context = std::string("not a number, ") + isa_name(kernel);
          test::Random random(test::seed);
          Layer layer(random, {3, inputs, 20});
          layer.row(1)[inputs - 1] = value;
          Guarded<float> out(60);
          run(random, layer, layer.weights(true, gelu_follows), kernel, out);
          for (std::size_t i = 0; i < 60; ++i) CHECK(std::isnan(out[i]) == (i / 20 == 1));
        }
      }
    }
  }
}

void huge_and_tiny_rows() {
  for (const Isa kernel : kKernels) {
    if (!has_linear_kernel(kernel)) continue;
    test::context = std::string("huge and tiny, ") + isa_name(kernel);
    test::Random random(test::seed);
    Layer layer(random, {4, 70, 20});
    for (std::int64_t k = 0; k < 70; ++k) {
      layer.row(0)[k] = k % 2 ? 3.0e38f : -3.0e38f;  // whose range is no float
      layer.row(1)[k] = k % 2 ? 1e-38f : -1e-38f;
      layer.row(2)[k] = std::numeric_limits<float>::denorm_min();
      layer.row(3)[k] = k == 7 ? 1e20f : 1.0f;
    }
    Guarded<float> out(80);
    run(random, layer, layer.weights(true, false), kernel, out);
    for (std::size_t i = 0; i < 20; ++i) {
      CHECK(std::isfinite(out[20 + i]) && out[40 + i] == layer.bias[i] && std::isfinite(out[60 + i]));
      CHECK(!std::isnan(out[i]));
    }
  }
}

void gelu_everywhere() {
  // One input, of which one step is the whole value: y = scale * 127 * x / 127 is known, so GELU alone is tested.
  for (const Isa kernel : kKernels) {
    if (!has_linear_kernel(kernel)) continue;
    test::context = std::string("gelu ") + isa_name(kernel);
    test::Random random(test::seed);
    Layer layer(random, {1, 1, 4000});
    layer.row(0)[0] = 0.0f;
    for (std::size_t n = 0; n < 4000; ++n) layer.bias[n] = -20.0f + 0.01f * static_cast<float>(n);
    layer.bias[0] = 1e30f;
    layer.bias[1] = -1e30f;
    layer.bias[2] = std::numeric_limits<float>::infinity();
    layer.bias[3] = -0.0f;
    Guarded<float> out(4000);
    run(random, layer, layer.weights(true, true), kernel, out);
    CHECK(out[2] == layer.bias[2]);
    for (std::size_t n = 0; n < 4000; ++n) {
      const double expected = gelu(layer.bias[n]);
      if (n != 2 && !(std::abs(out[n] - expected) <= gelu_error(kernel, layer.bias[n]))) {
        test::fail("gelu(%.9g) = %.9g, expected %.9g", layer.bias[n], out[n], expected);
      }
    }
  }
}

void refusals() {
  test::context = "refusals";
  test::Random random(test::seed);
  Layer layer(random, {3, 5, 7});
  const std::size_t size = spartan::linear_int8_scratch_bytes(layer.shape);
  std::vector<char> scratch(size);
  std::vector<float> out(21);
  const auto quantized = [&](LinearShape s, const float* x, std::int64_t begin, std::int64_t end, void* at, std::size_t bytes) {
    return spartan::linear_int8_quantize(s, x, begin, end, at, bytes);
  };
  const auto multiplied = [&](spartan::LinearInt8Weights w, std::int64_t begin, std::int64_t end, float* to) {
    return spartan::linear_int8_multiply(layer.shape, w, scratch.data(), size, begin, end, to);
  };
  for (const LinearShape wrong : {LinearShape{-1, 5, 7}, LinearShape{3, 0, 7}, LinearShape{3, 65537, 7},
                                  LinearShape{3, 5, 0}, LinearShape{3, 5, (std::int64_t{1} << 20) + 1},
                                  LinearShape{std::int64_t{1} << 62, 5, 7}, LinearShape{3, std::int64_t{1} << 62, 7}}) {
    CHECK(check(wrong) == LinearStatus::kBadShape);
    CHECK(quantized(wrong, layer.x.data(), 0, 1, scratch.data(), size) == LinearStatus::kBadShape);
  }
  CHECK(quantized(layer.shape, layer.x.data(), 0, 4, scratch.data(), size) == LinearStatus::kBadRange);
  CHECK(quantized(layer.shape, layer.x.data(), 2, 1, scratch.data(), size) == LinearStatus::kBadRange);
  CHECK(quantized(layer.shape, layer.x.data(), -1, 1, scratch.data(), size) == LinearStatus::kBadRange);
  CHECK(quantized(layer.shape, nullptr, 0, 1, scratch.data(), size) == LinearStatus::kNullPointer);
  CHECK(quantized(layer.shape, layer.x.data(), 0, 1, scratch.data(), size - 1) == LinearStatus::kScratchTooSmall);
  CHECK(quantized(layer.shape, layer.x.data(), 0, 3, scratch.data(), size) == LinearStatus::kOk);
  CHECK(multiplied(layer.weights(true, false), 0, 2, out.data()) == LinearStatus::kBadRange);
  CHECK(multiplied(layer.weights(true, false), 0, 1, nullptr) == LinearStatus::kNullPointer);
  CHECK(multiplied({nullptr, layer.scales.data(), layer.sums.data(), nullptr}, 0, 1, out.data()) == LinearStatus::kNullPointer);
  CHECK(multiplied(layer.weights(true, false), 0, 0, nullptr) == LinearStatus::kOk);
  CHECK(multiplied(layer.weights(false, false), 0, 1, out.data()) == LinearStatus::kOk);
  CHECK(spartan::isa_named("amx") == Isa::kAmx);
  CHECK(spartan::isa_named("no such") == Isa::kBest);
}

}  // namespace

int main(int argc, char** argv) {
  test::read_arguments(argc, argv);
  for (const Isa kernel : kKernels) {
    std::printf("linear_int8 %s: %s\n", isa_name(kernel), has_linear_kernel(kernel) ? "tested" : "not on this machine");
  }
  shapes();
  extremes();
  rows_that_are_no_numbers();
  huge_and_tiny_rows();
  gelu_everywhere();
  refusals();
  std::printf(test::failures == 0 ? "passed\n" : "%d failures\n", test::failures);
  return test::failures == 0 ? 0 : 1;
}
