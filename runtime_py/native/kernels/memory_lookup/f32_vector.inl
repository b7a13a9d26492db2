// The fp32 loops over vectors, written once; each instruction set's .cc includes this inside its anonymous namespace
// (so that no function compiled for one processor can be linked into another's path) after defining
//
//   struct V  Reg, kLanes, zero, set1, load, load_part(p, n), store, store_part(p, r, n), add, sub, mul,
//             fma(a, b, c) = a * b + c, max, sum(r) over lanes, scale2(r, n) = r * 2^n with n rounded to integer
//   kLogitBlocks             packed blocks that one tile of `logits` takes at most, up to 4
//   kLogitPositions<blocks>  positions that one tile of `logits` keeps in registers beside `blocks` blocks of 16
//   kDotRows                 rows that one tile of `dots` takes, beside 4 positions
//   kSumBlocks               blocks of 64 columns of which weighted_blocks keeps the sums in registers
//
// The order of additions for one position never depends on how many positions share a tile.

#include "simd/exp.inl"
#include "simd/unroll.h"

constexpr std::size_t kRegs = kBlockColumns / V::kLanes;  // registers a block of 16 columns

#ifndef SPARTAN_OWN_LOGITS
// One tile: `Positions` rows of x by `Blocks` blocks, all sums in registers: broadcast x, multiply-add 16 columns.
template <std::size_t Positions, std::size_t Blocks>
inline void logits_tile(const float* x, std::size_t hidden, const float* weights, float* out, std::size_t out_stride) {
  typename V::Reg sum[Positions][Blocks * kRegs];
  for (auto& row : sum) {
    for (auto& s : row) s = V::zero();
  }
  for (std::size_t h = 0; h < hidden; ++h) {
    typename V::Reg w[Blocks * kRegs];
    for (std::size_t b = 0; b < Blocks; ++b) {
      for (std::size_t r = 0; r < kRegs; ++r) {
        w[b * kRegs + r] = V::load(weights + (b * hidden + h) * kBlockColumns + r * V::kLanes);
      }
    }
    for (std::size_t p = 0; p < Positions; ++p) {
      const typename V::Reg xh = V::set1(x[p * hidden + h]);
      for (std::size_t i = 0; i < Blocks * kRegs; ++i) sum[p][i] = V::fma(xh, w[i], sum[p][i]);
    }
  }
  for (std::size_t p = 0; p < Positions; ++p) {
    for (std::size_t i = 0; i < Blocks * kRegs; ++i) V::store(out + p * out_stride + i * V::kLanes, sum[p][i]);
  }
}

template <std::size_t Positions, std::size_t Blocks>
void logits_rest(const float* x, std::size_t positions, std::size_t hidden, const float* weights, float* out,
                 std::size_t out_stride) {
  if constexpr (Positions > 0) {
    if (positions == Positions) {
      logits_tile<Positions, Blocks>(x, hidden, weights, out, out_stride);
    } else {
      logits_rest<Positions - 1, Blocks>(x, positions, hidden, weights, out, out_stride);
    }
  }
}

template <std::size_t Blocks>
void logits_blocks(const float* x, std::size_t positions, std::size_t hidden, const float* weights, float* out,
                   std::size_t out_stride) {
  constexpr std::size_t kMost = kLogitPositions<Blocks>;
  // Tiles of nearly equal height: a thin last tile would leave the multipliers waiting for loads.
  std::size_t tiles = (positions + kMost - 1) / kMost;
  while (positions > 0) {
    const std::size_t count = (positions + tiles - 1) / tiles;
    logits_rest<kMost, Blocks>(x, count, hidden, weights, out, out_stride);
    x += count * hidden;
    out += count * out_stride;
    positions -= count;
    --tiles;
  }
}

void logits(const float* x, std::size_t positions, std::size_t hidden, const float* weights, std::size_t blocks,
            float* out, std::size_t out_stride) {
  while (blocks > 0) {
    const std::size_t take = blocks < kLogitBlocks ? blocks : kLogitBlocks;
    switch (take) {
      case 1: logits_blocks<1>(x, positions, hidden, weights, out, out_stride); break;
      case 2: if constexpr (kLogitBlocks >= 2) logits_blocks<2>(x, positions, hidden, weights, out, out_stride); break;
      case 3: if constexpr (kLogitBlocks >= 3) logits_blocks<3>(x, positions, hidden, weights, out, out_stride); break;
      default: if constexpr (kLogitBlocks >= 4) logits_blocks<4>(x, positions, hidden, weights, out, out_stride); break;
    }
    weights += take * hidden * kBlockColumns;
    out += take * kBlockColumns;
    blocks -= take;
  }
}
#endif  // SPARTAN_OWN_LOGITS

// `Positions` vectors by `Rows` rows along H; one sum over lanes at the very end.
template <std::size_t Positions, std::size_t Rows>
void dots_tile(const float* const* x, const float* rows, std::size_t hidden, float* out, std::size_t out_stride) {
  typename V::Reg sum[Positions][Rows];
  for (auto& row : sum) {
    for (auto& s : row) s = V::zero();
  }
  const std::size_t whole = hidden / V::kLanes * V::kLanes;
  for (std::size_t h = 0; h < whole; h += V::kLanes) {
    typename V::Reg w[Rows];
    for (std::size_t r = 0; r < Rows; ++r) w[r] = V::load(rows + r * hidden + h);
    for (std::size_t p = 0; p < Positions; ++p) {
      const typename V::Reg xh = V::load(x[p] + h);
      for (std::size_t r = 0; r < Rows; ++r) sum[p][r] = V::fma(xh, w[r], sum[p][r]);
    }
  }
  if (whole < hidden) {
    const std::size_t left = hidden - whole;
SPARTAN_UNROLL
    for (std::size_t p = 0; p < Positions; ++p) {
      const typename V::Reg xh = V::load_part(x[p] + whole, left);
SPARTAN_UNROLL
      for (std::size_t r = 0; r < Rows; ++r) {
        sum[p][r] = V::fma(xh, V::load_part(rows + r * hidden + whole, left), sum[p][r]);
      }
    }
  }
SPARTAN_UNROLL
  for (std::size_t p = 0; p < Positions; ++p) {
SPARTAN_UNROLL
    for (std::size_t r = 0; r < Rows; ++r) out[p * out_stride + r] = V::sum(sum[p][r]);
  }
}

template <std::size_t Rows>
void dots_rows(const float* const* x, std::size_t positions, const float* rows, std::size_t hidden, float* out,
               std::size_t out_stride) {
  for (; positions >= 4; positions -= 4, x += 4, out += 4 * out_stride) {
    dots_tile<4, Rows>(x, rows, hidden, out, out_stride);
  }
  switch (positions) {
    case 3: dots_tile<3, Rows>(x, rows, hidden, out, out_stride); break;
    case 2: dots_tile<2, Rows>(x, rows, hidden, out, out_stride); break;
    case 1: dots_tile<1, Rows>(x, rows, hidden, out, out_stride); break;
    default: break;
  }
}

void dots(const float* const* x, std::size_t positions, const float* rows, std::size_t row_count, std::size_t hidden,
          float* out, std::size_t out_stride) {
  constexpr std::size_t kRows = kDotRows;
  for (; row_count >= kRows; row_count -= kRows, rows += kRows * hidden, out += kRows) {
    dots_rows<kRows>(x, positions, rows, hidden, out, out_stride);
  }
  switch (row_count) {
    case 3: if constexpr (kRows > 3) dots_rows<3>(x, positions, rows, hidden, out, out_stride); break;
    case 2: dots_rows<2>(x, positions, rows, hidden, out, out_stride); break;
    case 1: dots_rows<1>(x, positions, rows, hidden, out, out_stride); break;
    default: break;
  }
}

// One position's sums over `Registers` vectors that lie at row, row + stride, row + 2 stride..., in groups of `Group` vectors.
template <std::size_t Registers, std::size_t Group>
inline void weighted_tile(const float* values, std::size_t stride, const std::size_t* offsets, const float* weights,
                          std::size_t count, typename V::Reg* sum) {
  for (std::size_t r = 0; r < Registers; ++r) sum[r] = V::zero();
  for (std::size_t i = 0; i < count; ++i) {
    const typename V::Reg w = V::set1(weights[i]);
    const float* row = values + offsets[i];
    for (std::size_t r = 0; r < Registers; ++r) {
      sum[r] = V::fma(w, V::load(row + r / Group * stride + r % Group * V::kLanes), sum[r]);
    }
  }
}

template <std::size_t Registers>
inline void add_and_store(typename V::Reg* sum, const float* addend, float* out) {
  for (std::size_t r = 0; r < Registers; ++r) {
    if (addend != nullptr) sum[r] = V::add(V::load(addend + r * V::kLanes), sum[r]);
    V::store(out + r * V::kLanes, sum[r]);
  }
}

constexpr std::size_t kBlockRegs = kValueColumns / V::kLanes;
constexpr std::size_t kSumRegisters = 8;  // of weighted_rows: enough to hide the latency of a multiply-add

template <std::size_t N>
struct Count {
  static constexpr std::size_t value = N;
};

// `Blocks` packed blocks, all of whose columns are inside the row, for every position: they stay in L1 meanwhile.
template <std::size_t Blocks>
void weighted_whole_blocks(const float* values, std::size_t block_stride, const std::size_t* offsets,
                           const float* weights, std::size_t weight_stride, std::size_t count, const float* addend,
                           std::size_t positions, std::size_t hidden, float* out) {
  constexpr std::size_t kColumns = Blocks * kValueColumns;
  for (std::size_t p = 0; p < positions; ++p) {
    if (p + 1 < positions) {  // the next row's part, which lies a whole row away
      for (std::size_t h = 0; h < kColumns; h += 16) {
        if (addend != nullptr) __builtin_prefetch(addend + hidden + h);
        __builtin_prefetch(out + hidden + h, 1);
      }
    }
    typename V::Reg sum[Blocks * kBlockRegs];
    weighted_tile<Blocks * kBlockRegs, kBlockRegs>(values, block_stride, offsets, weights, count, sum);
    add_and_store<Blocks * kBlockRegs>(sum, addend, out);
    offsets += count;
    weights += weight_stride;
    if (addend != nullptr) addend += hidden;
    out += hidden;
  }
}

void weighted_blocks(const float* values, std::size_t block_stride, const std::size_t* offsets, const float* weights,
                     std::size_t weight_stride, std::size_t count, const float* addend, std::size_t positions,
                     std::size_t hidden, float* out) {
  const auto next = [&](std::size_t blocks) { return values + blocks * block_stride; };
  std::size_t h = 0;
  for (; h + kSumBlocks * kValueColumns <= hidden; h += kSumBlocks * kValueColumns, values = next(kSumBlocks)) {
    weighted_whole_blocks<kSumBlocks>(values, block_stride, offsets, weights, weight_stride, count,
                                      addend != nullptr ? addend + h : nullptr, positions, hidden, out + h);
  }
  if constexpr (kSumBlocks > 1) {
    for (; h + kValueColumns <= hidden; h += kValueColumns, values = next(1)) {
      weighted_whole_blocks<1>(values, block_stride, offsets, weights, weight_stride, count,
                               addend != nullptr ? addend + h : nullptr, positions, hidden, out + h);
    }
  }
  if (h == hidden) return;
  // The last block is read whole, its padding included, and written as far as the row goes.
  const std::size_t columns = hidden - h;
  for (std::size_t p = 0; p < positions; ++p) {
    typename V::Reg sum[kBlockRegs];
    weighted_tile<kBlockRegs, kBlockRegs>(values, 0, offsets + p * count, weights + p * weight_stride, count, sum);
SPARTAN_UNROLL
    for (std::size_t r = 0; r < kBlockRegs; ++r) {
      if (r * V::kLanes >= columns) break;
      const std::size_t at = p * hidden + h + r * V::kLanes;
      const std::size_t left = columns - r * V::kLanes;
      if (left >= V::kLanes) {
        add_and_store<1>(sum + r, addend != nullptr ? addend + at : nullptr, out + at);
      } else {
        if (addend != nullptr) sum[r] = V::add(V::load_part(addend + at, left), sum[r]);
        V::store_part(out + at, sum[r], left);
      }
    }
  }
}

void weighted_rows(const float* values, const std::size_t* offsets, const float* weights, std::size_t weight_stride,
                   std::size_t count, const float* addend, std::size_t positions, std::size_t hidden, float* out) {
  for (std::size_t p = 0; p < positions; ++p, offsets += count, weights += weight_stride) {
    std::size_t h = 0;
    const auto whole = [&](auto registers) {
      constexpr std::size_t kCount = decltype(registers)::value;
      for (; h + kCount * V::kLanes <= hidden; h += kCount * V::kLanes) {
        typename V::Reg sum[kCount];
        weighted_tile<kCount, kCount>(values + h, 0, offsets, weights, count, sum);
        add_and_store<kCount>(sum, addend != nullptr ? addend + p * hidden + h : nullptr, out + p * hidden + h);
      }
    };
    whole(Count<kSumRegisters>{});
    whole(Count<4>{});
    whole(Count<1>{});
    if (h == hidden) continue;
    const std::size_t left = hidden - h;
    typename V::Reg sum = V::zero();
    for (std::size_t i = 0; i < count; ++i) {
      sum = V::fma(V::set1(weights[i]), V::load_part(values + offsets[i] + h, left), sum);
    }
    if (addend != nullptr) sum = V::add(V::load_part(addend + p * hidden + h, left), sum);
    V::store_part(out + p * hidden + h, sum, left);
  }
}

void exp_nonpositive(float* v, std::size_t count) {
  for (; count >= V::kLanes; count -= V::kLanes, v += V::kLanes) V::store(v, exp_lanes(V::load(v)));
  if (count > 0) V::store_part(v, exp_lanes(V::load_part(v, count)), count);
}
