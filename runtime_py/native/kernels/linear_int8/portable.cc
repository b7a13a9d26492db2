// The int8 linear as its definition reads.
#include <algorithm>
#include <cmath>

#include "linear_int8/gelu_table.h"
#include "linear_int8/kernels.h"

namespace spartan {
namespace {

RowRange range(const float* row, std::size_t inputs) {
  RowRange found{0.0f, 0.0f, true};
  for (std::size_t k = 0; k < inputs; ++k) {
    found.finite = found.finite && std::isfinite(row[k]);
    found.lowest = std::min(found.lowest, row[k]);
    found.highest = std::max(found.highest, row[k]);
  }
  return found;
}

void quantize(const float* row, std::size_t inputs, float inverse_step, std::int32_t zero, std::uint8_t* q) {
  const std::size_t padded = (inputs + kTileInputs - 1) / kTileInputs * kTileInputs;
  for (std::size_t k = 0; k < padded; ++k) {
    std::int32_t value = 0;
    if (k < inputs) value = std::clamp(static_cast<std::int32_t>(std::lrint(row[k] * inverse_step)) + zero, 0, 255);
    q[k / kTileInputs * kTileBytes + k % kTileInputs] = static_cast<std::uint8_t>(value);
  }
}

float gelu(float x) {
  const float a = std::abs(x) > kGeluLimit ? kGeluLimit : std::abs(x);  // NaN stays
  const float scaled = a * kGeluPerUnit;
  const int interval = scaled >= 0.0f ? static_cast<int>(scaled) : 0;
  const float t = scaled - static_cast<float>(interval) - 0.5f;
  float tail = kGeluTail[kGeluDegree][interval];
  for (int power = kGeluDegree - 1; power >= 0; --power) tail = tail * t + kGeluTail[power][interval];
  return (x < 0.0f ? 0.0f : x) - a * tail;
}

// Sums of one row and one block of 16 outputs.
void dots(const std::uint8_t* x, const std::int8_t* weights, std::size_t input_blocks, std::int32_t* sums) {
  std::fill_n(sums, kLinearBlockOutputs, 0);
  for (std::size_t block = 0; block < input_blocks; ++block) {
    for (std::size_t quad = 0; quad < kTileInputs / 4; ++quad) {
      const std::uint8_t* q = x + block * kTileBytes + quad * 4;
      const std::int8_t* w = weights + block * kTileBytes + quad * 64;
      for (std::size_t n = 0; n < kLinearBlockOutputs; ++n) {
        sums[n] += q[0] * w[n * 4] + q[1] * w[n * 4 + 1] + q[2] * w[n * 4 + 2] + q[3] * w[n * 4 + 3];
      }
    }
  }
}

void multiply(const LinearJob& job) {
  std::int32_t sums[kLinearBlockOutputs];
  for (std::size_t index = job.begin; index < job.end; ++index) {
    const LinearUnit unit(job, index);
    for (std::size_t block = unit.block; block < unit.block + unit.block_count; ++block) {
      for (std::size_t r = unit.row; r < unit.row + unit.row_count; ++r) {
        const std::uint8_t* x = job.x + r / kTileRows * job.input_blocks * kTileBytes + r % kTileRows * kTileInputs;
        dots(x, job.weights.blocks + block * job.input_blocks * kTileBytes, job.input_blocks, sums);
        for (std::size_t i = 0; i < block_outputs(job, block); ++i) {
          const std::size_t n = block * kLinearBlockOutputs + i;
          const std::int32_t sum = sums[i] - job.row_zeros[r] * job.weights.sums[n];
          float y = static_cast<float>(sum) * (job.row_steps[r] * job.weights.scales[n]);
          if (job.weights.bias != nullptr) y += job.weights.bias[n];
          job.out[r * job.outputs + n] = job.weights.gelu ? gelu(y) : y;
        }
      }
    }
  }
}

}  // namespace

const LinearKernels kLinearInt8_portable = {range, quantize, multiply};

}  // namespace spartan
