// The int8 linear's products by dot products of bytes, 4 rows by 16 outputs, for the files that say which GELU follows.
#include "linear_int8/neon.inl"

namespace spartan {
namespace {
namespace dotprod {  // in every symbol's name, so that a disassembly can tell what is chosen at run time

template <class Gelu>
struct Strip {
  template <bool kGelu, std::size_t kRows>
  static void strip(const LinearJob& job, const BlockResults<Gelu>& results, std::size_t row, std::size_t block) {
    const std::size_t bytes = job.input_blocks * kTileBytes;
    const std::int8_t* x = row_bytes(job, row);
    const std::int8_t* w = job.weights.blocks + block * bytes;
    int32x4_t sums[kRows][kVectors];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = vdupq_n_s32(0);
    }
    for (const std::int8_t* end = w + bytes; w != end; x += kTileBytes) {
#pragma GCC unroll 1
      for (std::size_t quads = 0; quads < kTileInputs; quads += 16, w += 256) {
        int8x16_t inputs[kRows];
#pragma GCC unroll 4
        for (std::size_t r = 0; r < kRows; ++r) inputs[r] = vld1q_s8(x + r * kTileInputs + quads);
#pragma GCC unroll 4
        for (std::size_t v = 0; v < kVectors; ++v) {
          const int8x16_t first = vld1q_s8(w + v * 16), second = vld1q_s8(w + 64 + v * 16);
          const int8x16_t third = vld1q_s8(w + 128 + v * 16), fourth = vld1q_s8(w + 192 + v * 16);
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kRows; ++r) sums[r][v] = vdotq_laneq_s32(sums[r][v], first, inputs[r], 0);
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kRows; ++r) sums[r][v] = vdotq_laneq_s32(sums[r][v], second, inputs[r], 1);
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kRows; ++r) sums[r][v] = vdotq_laneq_s32(sums[r][v], third, inputs[r], 2);
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kRows; ++r) sums[r][v] = vdotq_laneq_s32(sums[r][v], fourth, inputs[r], 3);
        }
      }
    }
    results.template store<kGelu>(row, sums);
  }

  template <bool kGelu>
  static void rows(const LinearJob& job, const LinearUnit& unit, std::size_t block) {
    const BlockResults<Gelu> results(job, block);
    std::size_t r = 0;
    for (; r + 4 <= unit.row_count; r += 4) strip<kGelu, 4>(job, results, unit.row + r, block);
    switch (unit.row_count - r) {
      case 3: strip<kGelu, 3>(job, results, unit.row + r, block); break;
      case 2: strip<kGelu, 2>(job, results, unit.row + r, block); break;
      case 1: strip<kGelu, 1>(job, results, unit.row + r, block); break;
    }
  }
};

}  // namespace dotprod
}  // namespace
}  // namespace spartan
