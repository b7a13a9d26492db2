// A linear layer with int8 weights: activations are rounded to 8 bits row by row as they come, sums are exact integers.
//
//   lo = min(0, min x_r), hi = max(0, max x_r)                  of row r
//   step_r = (hi - lo) / 255, zero_r in [0, 255]                what stands for 0; see choose_step
//   q_rk = clamp(round(x_rk / step_r) + zero_r, 0, 255)
//   y_rn = (sum over k of (q_rk - zero_r) * w_nk) * (step_r * scale_n) + bias_n,   then GELU if asked
//
// x [rows, inputs] and y [rows, outputs]: float, row-major, dense, of any alignment; w int8, -127 to 127, in packed blocks. All
// integers, and without GELU all results, are the same bit for bit on every kernel. With the exact GELU (x * Phi(x))
// they lie within 1e-6 of |y|, and 1e-9, of it; with kNeonHalf, whose GELU is in half precision, within 6.2e-4 * min(1,
// 2 |x|). Rows are independent: what one holds does not touch another.
//
// A row with a NaN or an infinity gives NaN throughout. A row whose range lies below 255 * 2^-128 counts as zeros.
//
// The work is done in two steps, each cut for threads as the caller likes: all rows are quantised into the scratch,
// then units of 32 rows by 32 outputs are multiplied out of it. Nothing is allocated and no weight is copied.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spartan/isa.h"

namespace spartan {

enum class LinearStatus : int {
  kOk = 0,
  kBadShape,
  kBadRange,
  kNullPointer,
  kScratchTooSmall,
  kNoSuchKernel,
};
const char* describe(LinearStatus status);

bool has_linear_kernel(Isa isa);
// What kBest stands for on this machine.
Isa best_isa_linear();

constexpr std::int64_t kMaxLinearRows = std::int64_t{1} << 20;
constexpr std::int64_t kMaxLinearInputs = 65536;  // 255 * 128 * 65536 < 2^31: no sum overflows
constexpr std::int64_t kMaxLinearOutputs = std::int64_t{1} << 20;
constexpr std::int64_t kLinearBlockOutputs = 16;
constexpr std::int64_t kLinearBlockInputs = 64;
constexpr std::int64_t kLinearUnitRows = 32;
constexpr std::int64_t kLinearUnitOutputs = 32;

struct LinearShape {
  std::int64_t rows;
  std::int64_t inputs;   // K
  std::int64_t outputs;  // N
};
LinearStatus check(const LinearShape& shape);

struct LinearInt8Weights {
  // [ceil(N / 16), ceil(K / 64), 16, 16, 4]: w[n][k] at [n / 16, k / 64, k % 64 / 4, n % 16, k % 4]; zeros past N and K.
  // Any alignment is right; 64 bytes is fast.
  const std::int8_t* blocks;
  const float* scales;       // [N]
  const std::int32_t* sums;  // [N], of a row of w
  const float* bias;         // [N], or null
  bool gelu = false;
};

// Bytes of scratch for all rows, at any alignment.
std::size_t linear_int8_scratch_bytes(const LinearShape& shape);

// Quantises rows [begin, end) into the scratch.
LinearStatus linear_int8_quantize(const LinearShape& shape, const float* x, std::int64_t begin, std::int64_t end,
                                  void* scratch, std::size_t scratch_size, Isa isa = Isa::kBest);

// How many units there are. Those of one panel of 32 outputs follow each other.
std::int64_t linear_int8_units(const LinearShape& shape);

// Computes the outputs of units [begin, end) into out [rows, outputs]. `scratch` must hold all rows, quantised with
// the same `isa`.
LinearStatus linear_int8_multiply(const LinearShape& shape, const LinearInt8Weights& weights, const void* scratch,
                                  std::size_t scratch_size, std::int64_t begin, std::int64_t end, float* out,
                                  Isa isa = Isa::kBest);

}  // namespace spartan
