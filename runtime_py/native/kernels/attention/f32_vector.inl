// The loops over registers of V, for the instruction set of the file that includes it; it states kTileRows (2 or more)
// and kTileRegisters, whose product of sums stays in registers.

#include "simd/exp.inl"
#include "simd/unroll.h"

template <std::size_t Rows, std::size_t Registers>
inline void tile(const float* a, std::size_t a_stride, const float* b, std::size_t b_stride, std::size_t depth,
                 float* c, std::size_t c_stride) {
  typename V::Reg sum[Rows][Registers];
SPARTAN_UNROLL
  for (std::size_t r = 0; r < Rows; ++r) {
SPARTAN_UNROLL
    for (std::size_t n = 0; n < Registers; ++n) sum[r][n] = V::zero();
  }
  for (std::size_t i = 0; i < depth; ++i, b += b_stride) {
    typename V::Reg column[Registers];
SPARTAN_UNROLL
    for (std::size_t n = 0; n < Registers; ++n) column[n] = V::load(b + n * V::kLanes);
SPARTAN_UNROLL
    for (std::size_t r = 0; r < Rows; ++r) {
      const typename V::Reg factor = V::set1(a[r * a_stride + i]);
SPARTAN_UNROLL
      for (std::size_t n = 0; n < Registers; ++n) sum[r][n] = V::fma(factor, column[n], sum[r][n]);
    }
  }
SPARTAN_UNROLL
  for (std::size_t r = 0; r < Rows; ++r) {
SPARTAN_UNROLL
    for (std::size_t n = 0; n < Registers; ++n) V::store(c + r * c_stride + n * V::kLanes, sum[r][n]);
  }
}

template <std::size_t Rows>
inline void columns_of(const float* a, std::size_t a_stride, const float* b, std::size_t b_stride, std::size_t depth,
                       std::size_t columns, float* c, std::size_t c_stride) {
  constexpr std::size_t kWide = kTileRegisters * V::kLanes;
  constexpr std::size_t kNarrow = kAttentionPad / V::kLanes;  // registers of what is left: columns are multiples of 16
  std::size_t n = 0;
  for (; n + kWide <= columns; n += kWide) {
    tile<Rows, kTileRegisters>(a, a_stride, b + n, b_stride, depth, c + n, c_stride);
  }
  for (; n < columns; n += kAttentionPad) tile<Rows, kNarrow>(a, a_stride, b + n, b_stride, depth, c + n, c_stride);
}

void product(const float* a, std::size_t a_stride, std::size_t rows, const float* b, std::size_t b_stride,
             std::size_t depth, std::size_t columns, float* c, std::size_t c_stride) {
  for (; rows >= kTileRows; rows -= kTileRows, a += kTileRows * a_stride, c += kTileRows * c_stride) {
    columns_of<kTileRows>(a, a_stride, b, b_stride, depth, columns, c, c_stride);
  }
  for (; rows >= 2; rows -= 2, a += 2 * a_stride, c += 2 * c_stride) {
    columns_of<2>(a, a_stride, b, b_stride, depth, columns, c, c_stride);
  }
  if (rows == 1) columns_of<1>(a, a_stride, b, b_stride, depth, columns, c, c_stride);
}

float exponentials(float* scores, const float* mask, std::size_t count) {
  typename V::Reg largest = V::set1(-3.402823466e38f);
  for (std::size_t j = 0; j < count; j += V::kLanes) {
    const typename V::Reg s = V::add(V::load(scores + j), V::load(mask + j));
    V::store(scores + j, s);
    largest = V::max(s, largest);
  }
  float lanes[V::kLanes];
  V::store(lanes, largest);
  float most = lanes[0];
  for (const float each : lanes) most = each > most ? each : most;
  const typename V::Reg shift = V::set1(most);
  typename V::Reg sum = V::zero();
  for (std::size_t j = 0; j < count; j += V::kLanes) {
    const typename V::Reg e = exp_lanes(V::sub(V::load(scores + j), shift));
    V::store(scores + j, e);
    sum = V::add(sum, e);
  }
  return V::sum(sum);
}
