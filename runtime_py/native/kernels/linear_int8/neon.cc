// The int8 linear on every Arm processor: 2 rows by 16 outputs, products of bytes summed in pairs.
//
// smull and smlal add two products in 16 bits, which fit since a weight is at least -127: 2 * 128 * 127 < 2^15. sadalp
// then adds neighbours to sums of 32 bits. On a Cortex-A72 the multiplier takes one of the former a cycle, and sadalp
// goes to the other pipe, so 8 multiply-adds a cycle are its limit.
#include "linear_int8/neon.inl"

namespace spartan {
namespace {

// Four inputs of one row, in all four places of a register.
inline int8x16_t quad_of(const std::int8_t* x) {
  return vreinterpretq_s8_s32(vld1q_dup_s32(reinterpret_cast<const std::int32_t*>(x)));
}

struct Strip {
  template <bool kGelu, std::size_t kRows>
  static void strip(const LinearJob& job, const BlockResults<ExactGelu>& results, std::size_t row, std::size_t block) {
    const std::size_t bytes = job.input_blocks * kTileBytes;
    const std::int8_t* x = row_bytes(job, row);
    const std::int8_t* w = job.weights.blocks + block * bytes;
    int32x4_t sums[kRows][2 * kVectors];  // the two lanes of an output lie side by side
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < 2 * kVectors; ++v) sums[r][v] = vdupq_n_s32(0);
    }
    for (const std::int8_t* end = w + bytes; w != end; x += kTileBytes) {
#pragma GCC unroll 2
      for (std::size_t quad = 0; quad < kTileInputs; quad += 8, w += 128) {
        int8x16_t inputs[kRows][2];
#pragma GCC unroll 2
        for (std::size_t r = 0; r < kRows; ++r) {
          inputs[r][0] = quad_of(x + r * kTileInputs + quad);
          inputs[r][1] = quad_of(x + r * kTileInputs + quad + 4);
        }
#pragma GCC unroll 4
        for (std::size_t v = 0; v < kVectors; ++v) {
          const int8x16_t first = vld1q_s8(w + v * 16), second = vld1q_s8(w + 64 + v * 16);
          int16x8_t pairs[kRows][2];
#pragma GCC unroll 2
          for (std::size_t r = 0; r < kRows; ++r) {
            pairs[r][0] = vmull_s8(vget_low_s8(first), vget_low_s8(inputs[r][0]));
            pairs[r][1] = vmull_high_s8(first, inputs[r][0]);
          }
#pragma GCC unroll 2
          for (std::size_t r = 0; r < kRows; ++r) {
            pairs[r][0] = vmlal_s8(pairs[r][0], vget_low_s8(second), vget_low_s8(inputs[r][1]));
            pairs[r][1] = vmlal_high_s8(pairs[r][1], second, inputs[r][1]);
          }
#pragma GCC unroll 2
          for (std::size_t r = 0; r < kRows; ++r) {
            sums[r][2 * v] = vpadalq_s16(sums[r][2 * v], pairs[r][0]);
            sums[r][2 * v + 1] = vpadalq_s16(sums[r][2 * v + 1], pairs[r][1]);
          }
        }
      }
    }
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kRows; ++r) {
      int32x4_t dots[1][kVectors];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) dots[0][v] = vpaddq_s32(sums[r][2 * v], sums[r][2 * v + 1]);
      results.store<kGelu>(row + r, dots);
    }
  }

  template <bool kGelu>
  static void rows(const LinearJob& job, const LinearUnit& unit, std::size_t block) {
    const BlockResults<ExactGelu> results(job, block);
    std::size_t r = 0;
    for (; r + 2 <= unit.row_count; r += 2) strip<kGelu, 2>(job, results, unit.row + r, block);
    if (r < unit.row_count) strip<kGelu, 1>(job, results, unit.row + r, block);
  }
};

}  // namespace

const LinearKernels kLinearInt8_neon = {range, quantize, multiply_units<Strip>, kByteOfZero};

}  // namespace spartan
