// The definition of the integer loops, in plain C++.
#include "memory_lookup/quantized_kernels.h"

namespace spartan {
namespace {

#include "memory_lookup/quantize.inl"

// Byte j of packed int4 keys holds h % 8 = j (low) and j + 4 (high), both plus 8.
std::int32_t nibble(std::uint8_t byte, bool high) { return (high ? byte >> 4 : byte & 15) - 8; }

void key_logits_int8(const QuantizedRows& x, std::size_t positions, std::size_t hidden, const std::int8_t* keys,
                     const float* key_scales, std::size_t blocks, float* out, std::size_t out_stride) {
  const std::size_t quads = (hidden + kQuad - 1) / kQuad;
  for (std::size_t p = 0; p < positions; ++p) {
    const std::int8_t* row = x.cells + p * x.stride;
    for (std::size_t n = 0; n < blocks * kBlockColumns; ++n) {
      const std::int8_t* column = keys + (n / kBlockColumns * quads * kBlockColumns + n % kBlockColumns) * kQuad;
      std::int32_t sum = 0;
      for (std::size_t h = 0; h < hidden; ++h) {
        sum += row[h] * column[h / kQuad * kBlockColumns * kQuad + h % kQuad];
      }
      out[p * out_stride + n] = static_cast<float>(sum) * (key_scales[n] * x.scales[p]);
    }
  }
}

void key_logits_int4(const QuantizedRows& x, std::size_t positions, std::size_t hidden, const std::uint8_t* keys,
                     const float* key_scales, std::size_t blocks, float* out, std::size_t out_stride) {
  const std::size_t groups = hidden / kInt4Group;
  for (std::size_t p = 0; p < positions; ++p) {
    const std::int8_t* row = x.cells + p * x.stride;
    for (std::size_t n = 0; n < blocks * kBlockColumns; ++n) {
      const std::size_t block = n / kBlockColumns, column = n % kBlockColumns;
      float logit = 0;
      for (std::size_t g = 0; g < groups; ++g) {
        std::int32_t sum = 0;
        for (std::size_t h = g * kInt4Group; h < (g + 1) * kInt4Group; ++h) {
          const std::size_t at = ((block * (hidden / 8) + h / 8) * kBlockColumns + column) * kQuad + h % kQuad;
          sum += row[h] * nibble(keys[at], h % 8 >= kQuad);
        }
        logit += static_cast<float>(sum) * key_scales[(block * groups + g) * kBlockColumns + column];
      }
      out[p * out_stride + n] = logit * x.scales[p];
    }
  }
}

void key_dots_int8(const QuantizedRows& x, const std::uint32_t* positions, std::size_t position_count,
                   std::size_t hidden, const std::int8_t* keys, const float* key_scales, std::size_t count,
                   float* out) {
  for (std::size_t i = 0; i < position_count; ++i) {
    const std::int8_t* row = x.cells + positions[i] * x.stride;
    for (std::size_t r = 0; r < count; ++r) {
      const std::int8_t* key = keys + r * x.stride;
      std::int32_t sum = 0;
      for (std::size_t h = 0; h < hidden; ++h) sum += row[h] * key[h];
      out[i * count + r] = static_cast<float>(sum) * (key_scales[r] * x.scales[positions[i]]);
    }
  }
}

void key_dots_int4(const QuantizedRows& x, const std::uint32_t* positions, std::size_t position_count,
                   std::size_t hidden, const std::uint8_t* keys, const float* key_scales, std::size_t count,
                   float* out) {
  const std::size_t groups = hidden / kInt4Group;
  for (std::size_t i = 0; i < position_count; ++i) {
    const std::int8_t* row = x.cells + positions[i] * x.stride;
    for (std::size_t r = 0; r < count; ++r) {
      const std::uint8_t* key = keys + r * (x.stride / 2);
      float logit = 0;
      for (std::size_t g = 0; g < groups; ++g) {
        std::int32_t sum = 0;
        for (std::size_t h = 0; h < kInt4Group; ++h) {
          sum += row[g * kInt4Group + h] * nibble(key[g / 2 * kInt4Group + h], g % 2 == 1);
        }
        logit += static_cast<float>(sum) * key_scales[r * groups + g];
      }
      out[i * count + r] = logit * x.scales[positions[i]];
    }
  }
}

void weighted_int8(const std::int8_t* values, std::size_t value_quads, const QuantizedWeights& weights,
                   const float* addend, std::size_t positions, std::size_t hidden, float* out) {
  for (std::size_t p = 0; p < positions; ++p) {
    const std::int8_t* w = weights.cells + p * weights.stride * kQuad;
    for (std::size_t h = 0; h < hidden; ++h) {
      std::int32_t sum = 0;
      for (std::size_t i = 0; i < weights.counts[p]; ++i) {
        const std::size_t quad = h / kValueColumns * value_quads + weights.quads[p * weights.stride + i];
        const std::int8_t* value = values + (quad * kValueColumns + h % kValueColumns) * kQuad;
        for (std::size_t j = 0; j < kQuad; ++j) sum += w[i * kQuad + j] * value[j];
      }
      const float y = static_cast<float>(sum) * weights.scales[p];
      out[p * hidden + h] = addend != nullptr ? addend[p * hidden + h] + y : y;
    }
  }
}

void weighted_int4(const std::uint8_t* values, std::size_t value_quads, const QuantizedWeights& weights,
                   const float* addend, std::size_t positions, std::size_t hidden, float* out) {
  const std::size_t groups = hidden / kInt4Group;
  constexpr std::size_t kHalf = kValueColumns / 2;
  for (std::size_t p = 0; p < positions; ++p) {
    for (std::size_t h = 0; h < hidden; ++h) {
      const std::size_t group = h / kInt4Group;
      std::int32_t sum = 0;
      for (std::size_t i = 0; i < weights.counts[p]; ++i) {
        const std::size_t quad = h / kValueColumns * value_quads + weights.quads[p * weights.stride + i];
        const std::uint8_t* value = values + (quad * kHalf + h % kHalf) * kQuad;
        for (std::size_t j = 0; j < kQuad; ++j) {
          const std::size_t weight = ((p * weights.stride + i) * groups + group) * kQuad + j;
          sum += weights.cells[weight] * nibble(value[j], h % kValueColumns >= kHalf);
        }
      }
      const float y = static_cast<float>(sum) * weights.scales[p * groups + group];
      out[p * hidden + h] = addend != nullptr ? addend[p * hidden + h] + y : y;
    }
  }
}

}  // namespace

const QuantizedKernels kMemoryLookupQuantized_portable = {
    quantize_rows,         key_logits_int8,       key_logits_int4, key_dots_int8, key_dots_int4,
    quantize_weights_int8, quantize_weights_int4, weighted_int8,   weighted_int4,
    nullptr};

}  // namespace spartan
