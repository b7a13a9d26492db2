// What each instruction set brings to the int8 linear. Internal to the library and its tests.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spartan/linear_int8.h"

namespace spartan {

// Activations of 16 rows by 64 inputs, and weights of 64 inputs by 16 outputs, both lie in blocks of 1,024 bytes.
constexpr std::size_t kTileRows = 16;
constexpr std::size_t kTileInputs = 64;
constexpr std::size_t kTileBytes = 1024;

struct RowRange {
  float lowest;   // of the row and 0; like `highest` without meaning where `finite` does not hold
  float highest;
  bool finite;
};

// One thread's part of a product.
struct LinearJob {
  const std::uint8_t* x;  // [row tiles][input blocks][16][64]; rows past the last hold anything
  const float* row_steps;
  const std::int32_t* row_zeros;
  std::size_t rows;
  std::size_t input_blocks;
  std::size_t outputs;
  LinearInt8Weights weights;
  std::size_t begin, end;  // units
  float* out;
};

struct LinearKernels {
  RowRange (*range)(const float* row, std::size_t inputs);
  // q[k / 64 * 1024 + k % 64] of one row, 0 for the padding behind its inputs.
  void (*quantize)(const float* row, std::size_t inputs, float inverse_step, std::int32_t zero, std::uint8_t* q);
  void (*multiply)(const LinearJob& job);
  std::uint8_t byte_of_zero = 0;  // how q = 0 lies in the scratch
};

#define SPARTAN_LINEAR(isa, suffix) extern const LinearKernels kLinearInt8_##suffix;
#include "linear_int8/kernels.inc"
#undef SPARTAN_LINEAR

// One unit: where it begins, and how much of it there is at the edges.
struct LinearUnit {
  std::size_t row, row_count;       // row_count <= 32
  std::size_t block, block_count;   // blocks of 16 outputs; block_count <= 2
  std::size_t panel, group;

  LinearUnit(const LinearJob& job, std::size_t index) {
    const std::size_t groups = (job.rows + kLinearUnitRows - 1) / kLinearUnitRows;
    const std::size_t blocks = (job.outputs + kLinearBlockOutputs - 1) / kLinearBlockOutputs;
    panel = index / groups;
    group = index % groups;
    row = group * kLinearUnitRows;
    row_count = job.rows - row < kLinearUnitRows ? job.rows - row : kLinearUnitRows;
    block = panel * 2;
    block_count = blocks - block < 2 ? blocks - block : 2;
  }
};

inline std::size_t block_outputs(const LinearJob& job, std::size_t block) {
  const std::size_t left = job.outputs - block * kLinearBlockOutputs;
  return left < kLinearBlockOutputs ? left : kLinearBlockOutputs;
}

}  // namespace spartan
