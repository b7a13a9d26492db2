#include "memory_lookup/f32_kernels.h"
#include "simd/neon.h"

namespace spartan {
namespace {

using V = Neon;

constexpr std::size_t kDotRows = 4;
constexpr std::size_t kSumBlocks = 1;

// One tile: up to 4 positions by one block of 16 columns. Four steps of H come with one load a position and are used
// lane by lane, so that 64 multiply-adds need 20 loads.
template <std::size_t Positions>
inline void logits_tile(const float* x, std::size_t hidden, const float* weights, float* out, std::size_t out_stride) {
  float32x4_t sum[Positions][4];
  for (auto& row : sum) {
    for (auto& s : row) s = vdupq_n_f32(0);
  }
  std::size_t h = 0;
#define SPARTAN_STEP(lane)                                                                     \
  {                                                                                            \
    const float* column = weights + (h + lane) * kBlockColumns;                                \
    const float32x4_t w0 = vld1q_f32(column), w1 = vld1q_f32(column + 4);                      \
    const float32x4_t w2 = vld1q_f32(column + 8), w3 = vld1q_f32(column + 12);                 \
    for (std::size_t p = 0; p < Positions; ++p) {                                              \
      sum[p][0] = vfmaq_laneq_f32(sum[p][0], w0, xh[p], lane);                                 \
      sum[p][1] = vfmaq_laneq_f32(sum[p][1], w1, xh[p], lane);                                 \
      sum[p][2] = vfmaq_laneq_f32(sum[p][2], w2, xh[p], lane);                                 \
      sum[p][3] = vfmaq_laneq_f32(sum[p][3], w3, xh[p], lane);                                 \
    }                                                                                          \
  }
  for (; h + 4 <= hidden; h += 4) {
    float32x4_t xh[Positions];
    for (std::size_t p = 0; p < Positions; ++p) xh[p] = vld1q_f32(x + p * hidden + h);
    SPARTAN_STEP(0)
    SPARTAN_STEP(1)
    SPARTAN_STEP(2)
    SPARTAN_STEP(3)
  }
  for (; h < hidden; ++h) {
    float32x4_t xh[Positions];
    for (std::size_t p = 0; p < Positions; ++p) xh[p] = vdupq_n_f32(x[p * hidden + h]);
    SPARTAN_STEP(0)
  }
#undef SPARTAN_STEP
  for (std::size_t p = 0; p < Positions; ++p) {
    for (std::size_t r = 0; r < 4; ++r) vst1q_f32(out + p * out_stride + r * 4, sum[p][r]);
  }
}

void logits(const float* x, std::size_t positions, std::size_t hidden, const float* weights, std::size_t blocks,
            float* out, std::size_t out_stride) {
  for (std::size_t b = 0; b < blocks; ++b, weights += hidden * kBlockColumns, out += kBlockColumns) {
    std::size_t p = 0;
    for (; p + 4 <= positions; p += 4) logits_tile<4>(x + p * hidden, hidden, weights, out + p * out_stride, out_stride);
    switch (positions - p) {
      case 3: logits_tile<3>(x + p * hidden, hidden, weights, out + p * out_stride, out_stride); break;
      case 2: logits_tile<2>(x + p * hidden, hidden, weights, out + p * out_stride, out_stride); break;
      case 1: logits_tile<1>(x + p * hidden, hidden, weights, out + p * out_stride, out_stride); break;
      default: break;
    }
  }
}

#define SPARTAN_OWN_LOGITS
#include "memory_lookup/f32_vector.inl"
#include "memory_lookup/select.inl"

}  // namespace

const F32Kernels kMemoryLookupF32_neon = {
    logits,          dots,
    weighted_rows,   weighted_blocks,
    exp_nonpositive, add_layer_norm_f32_neon,
    select_largest, shift_logits,
    weights_of_chosen};

}  // namespace spartan
