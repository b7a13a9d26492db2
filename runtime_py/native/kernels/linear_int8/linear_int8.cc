// The int8 linear: checks, the scratch's layout, and a row's step.
#include "spartan/linear_int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/dispatch.h"
#include "linear_int8/kernels.h"

namespace spartan {
namespace {

constexpr Implementation<const LinearKernels*> kKernels[] = {
#define SPARTAN_LINEAR(isa, suffix) {Isa::isa, &kLinearInt8_##suffix},
#include "linear_int8/kernels.inc"
#undef SPARTAN_LINEAR
};

constexpr std::size_t ceil_div(std::int64_t count, std::int64_t size) {
  return static_cast<std::size_t>((count + size - 1) / size);
}

// Where everything lies in the scratch.
struct Scratch {
  std::uint8_t* x;  // first: it is what is aligned
  float* row_steps;
  std::int32_t* row_zeros;
  std::size_t input_blocks;
  std::size_t bytes;

  Scratch(const LinearShape& shape, const void* memory) {
    constexpr std::uintptr_t kAlignment = 64;
    const std::size_t tiles = ceil_div(shape.rows, kTileRows);
    input_blocks = ceil_div(shape.inputs, kTileInputs);
    const std::uintptr_t start = (reinterpret_cast<std::uintptr_t>(memory) + kAlignment - 1) / kAlignment * kAlignment;
    const std::size_t quantized = tiles * input_blocks * kTileBytes;
    x = reinterpret_cast<std::uint8_t*>(start);
    row_steps = reinterpret_cast<float*>(start + quantized);
    row_zeros = reinterpret_cast<std::int32_t*>(row_steps + tiles * kTileRows);
    bytes = quantized + tiles * kTileRows * (sizeof(float) + sizeof(std::int32_t)) + kAlignment;
  }
};

struct RowStep {
  float step;
  float inverse;
  std::int32_t zero;
};

// The step that spreads [lowest, highest] over 256 values, and the value that stands for 0: the one that leaves the
// smaller error at the end where 0 is closer to falling between two values.
RowStep choose_step(const RowRange& range) {
  constexpr float kLargest = 255.0f;
  if (!range.finite) return {std::numeric_limits<float>::quiet_NaN(), 0.0f, 0};
  const float step = range.highest / kLargest - range.lowest / kLargest;  // the difference itself may overflow
  const float inverse = 1.0f / step;
  if (!(inverse <= std::numeric_limits<float>::max())) return {1.0f, 0.0f, 0};
  const float low = range.lowest * inverse, high = range.highest * inverse;
  const float zero = low + (kLargest + high) > 0.0f ? -low : kLargest - high;
  return {step, inverse, static_cast<std::int32_t>(std::lrint(std::clamp(zero, 0.0f, kLargest)))};
}

}  // namespace

const char* describe(LinearStatus status) {
  switch (status) {
    case LinearStatus::kOk: return "ok";
    case LinearStatus::kBadShape: return "rows, inputs or outputs are none, or more than the kernels take";
    case LinearStatus::kBadRange: return "the range must be 0 <= begin <= end, within what there is";
    case LinearStatus::kNullPointer: return "a tensor or the scratch is missing";
    case LinearStatus::kScratchTooSmall: return "the scratch is smaller than linear_int8_scratch_bytes() says";
    case LinearStatus::kNoSuchKernel: return "this machine does not have the instruction set asked for";
  }
  return "unknown status";
}

bool has_linear_kernel(Isa isa) { return find_kernels(kKernels, isa) != nullptr; }

Isa best_isa_linear() { return best_isa(kKernels); }

LinearStatus check(const LinearShape& shape) {
  const bool fits = shape.rows >= 0 && shape.rows <= kMaxLinearRows && shape.inputs >= 1 &&
                    shape.inputs <= kMaxLinearInputs && shape.outputs >= 1 && shape.outputs <= kMaxLinearOutputs;
  return fits ? LinearStatus::kOk : LinearStatus::kBadShape;
}

std::size_t linear_int8_scratch_bytes(const LinearShape& shape) { return Scratch(shape, nullptr).bytes; }

std::int64_t linear_int8_units(const LinearShape& shape) {
  return static_cast<std::int64_t>(ceil_div(shape.rows, kLinearUnitRows) * ceil_div(shape.outputs, kLinearUnitOutputs));
}

LinearStatus linear_int8_quantize(const LinearShape& shape, const float* x, std::int64_t begin, std::int64_t end,
                                  void* scratch, std::size_t scratch_size, Isa isa) {
  if (const LinearStatus status = check(shape); status != LinearStatus::kOk) return status;
  if (begin < 0 || end < begin || end > shape.rows) return LinearStatus::kBadRange;
  if (begin == end) return LinearStatus::kOk;
  if (x == nullptr || scratch == nullptr) return LinearStatus::kNullPointer;
  const Scratch layout(shape, scratch);
  if (scratch_size < layout.bytes) return LinearStatus::kScratchTooSmall;
  const LinearKernels* kernels = find_kernels(kKernels, isa);
  if (kernels == nullptr) return LinearStatus::kNoSuchKernel;
  const std::size_t inputs = static_cast<std::size_t>(shape.inputs);
  for (std::size_t r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r) {
    const float* row = x + r * inputs;
    const RowStep step = choose_step(kernels->range(row, inputs));
    std::uint8_t* q = layout.x + r / kTileRows * layout.input_blocks * kTileBytes + r % kTileRows * kTileInputs;
    if (step.inverse == 0.0f) {
      for (std::size_t block = 0; block < layout.input_blocks; ++block) {
        std::memset(q + block * kTileBytes, kernels->byte_of_zero, kTileInputs);
      }
    } else {
      kernels->quantize(row, inputs, step.inverse, step.zero, q);
    }
    layout.row_steps[r] = step.step;
    layout.row_zeros[r] = step.zero;
  }
  return LinearStatus::kOk;
}

LinearStatus linear_int8_multiply(const LinearShape& shape, const LinearInt8Weights& weights, const void* scratch,
                                  std::size_t scratch_size, std::int64_t begin, std::int64_t end, float* out,
                                  Isa isa) {
  if (const LinearStatus status = check(shape); status != LinearStatus::kOk) return status;
  if (begin < 0 || end < begin || end > linear_int8_units(shape)) return LinearStatus::kBadRange;
  if (begin == end) return LinearStatus::kOk;
  if (weights.blocks == nullptr || weights.scales == nullptr || weights.sums == nullptr || scratch == nullptr ||
      out == nullptr) {
    return LinearStatus::kNullPointer;
  }
  const Scratch layout(shape, scratch);
  if (scratch_size < layout.bytes) return LinearStatus::kScratchTooSmall;
  const LinearKernels* kernels = find_kernels(kKernels, isa);
  if (kernels == nullptr) return LinearStatus::kNoSuchKernel;
  kernels->multiply({layout.x, layout.row_steps, layout.row_zeros, static_cast<std::size_t>(shape.rows),
                     layout.input_blocks, static_cast<std::size_t>(shape.outputs), weights,
                     static_cast<std::size_t>(begin), static_cast<std::size_t>(end), out});
  return LinearStatus::kOk;
}

}  // namespace spartan
