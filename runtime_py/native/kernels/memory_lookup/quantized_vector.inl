// The integer loops over vectors, written once; each instruction set's .cc includes this inside its anonymous namespace
// after `V` (floats, see f32_vector.inl) and
//
//   struct Q  Acc (kLanes sums in int32, kept in any way), kLanes = V::kLanes
//             Bytes (4 kLanes bytes), load(p), quad(p): the four bytes at p for every lane
//             Cells, cells(bytes): signed cells, made ready to be multiplied by several rows
//             dot(acc, cells, bytes): adds a lane's four products of signed cells and bytes within -127 .. 127
//             start(sum): what sums of `dot` begin with, given the sum of the other factor
//             dot_small(acc, small, bytes): the same for bytes within 0 .. 15 in `small` and any in `bytes`
//             weigh(acc, values, weights): the same for any values and weights within 0 .. 127
//             kPairs: whether there is dot2(acc, cells, bytes, cells, bytes), two steps for less than twice the work
//             all(i), first(i): i in every lane, i in the first and 0 in the rest
//             low(bytes), high(bytes): the nibbles as bytes
//             to_float(acc), sum(acc): lanes as floats; all lanes together, as an integer
//   kKeyBlocks               packed blocks that one tile of key_logits_int8 takes at most, up to 3
//   kKeyPositions<blocks>    positions beside `blocks` blocks of 16 in it
//   kNibblePositions         positions of one tile of key_logits_int4, which takes one block
//   kDotPositions            positions of one tile of key_dots_int8
//   kWeightRegs              registers of consecutive columns whose sums weighted_int8 keeps: blocks of 64, or parts
//   R                        Q, or one with half its lanes where 32 bytes are less than a register
//
// Sums of integers are exact, so how they are tiled changes nothing; floats are made of them in one order.

#include "simd/unroll.h"

constexpr std::size_t kRegs = kBlockColumns / Q::kLanes;      // registers a block of 16 columns
constexpr std::size_t kBytes = Q::kLanes * kQuad;             // bytes a register
constexpr std::size_t kBlockBytes = kBlockColumns * kQuad;    // bytes of a block at one quad of H
constexpr std::size_t kValueRegs = kValueColumns / Q::kLanes; // registers a block of 64 columns

inline const std::int8_t* as_signed(const std::uint8_t* p) { return reinterpret_cast<const std::int8_t*>(p); }

// `Steps` is Q: a template's own name, so that what an instruction set has not is not asked of it.
template <std::size_t Positions, std::size_t Blocks, typename Steps = Q>
inline void key_tile_int8(const QuantizedRows& x, std::size_t p0, std::size_t quads, const std::int8_t* keys,
                          const float* key_scales, float* out, std::size_t out_stride) {
  typename Q::Acc sum[Positions][Blocks * kRegs];
  const std::int8_t* rows[Positions];
SPARTAN_UNROLL
  for (std::size_t p = 0; p < Positions; ++p) {
    rows[p] = x.cells + (p0 + p) * x.stride;
SPARTAN_UNROLL
    for (std::size_t i = 0; i < Blocks * kRegs; ++i) sum[p][i] = Q::start(x.sums[p0 + p]);
  }
  std::size_t q = 0;
  if constexpr (Steps::kPairs) {
    for (; q + 2 <= quads; q += 2) {
      const std::int8_t* first = keys + q * kBlockBytes;
      typename Q::Bytes x0[Positions], x1[Positions];
SPARTAN_UNROLL
      for (std::size_t p = 0; p < Positions; ++p) {
        x0[p] = Q::quad(rows[p] + q * kQuad);
        x1[p] = Q::quad(rows[p] + (q + 1) * kQuad);
      }
SPARTAN_UNROLL
      for (std::size_t i = 0; i < Blocks * kRegs; ++i) {
        const std::int8_t* at = first + i / kRegs * quads * kBlockBytes + i % kRegs * kBytes;
        const typename Q::Cells c0 = Q::cells(Q::load(at)), c1 = Q::cells(Q::load(at + kBlockBytes));
SPARTAN_UNROLL
        for (std::size_t p = 0; p < Positions; ++p) sum[p][i] = Steps::dot2(sum[p][i], c0, x0[p], c1, x1[p]);
      }
    }
  }
  for (; q < quads; ++q) {
    typename Q::Cells cells[Blocks * kRegs];
SPARTAN_UNROLL
    for (std::size_t i = 0; i < Blocks * kRegs; ++i) {
      cells[i] = Q::cells(Q::load(keys + (i / kRegs * quads + q) * kBlockBytes + i % kRegs * kBytes));
    }
SPARTAN_UNROLL
    for (std::size_t p = 0; p < Positions; ++p) {
      const typename Q::Bytes xq = Q::quad(rows[p] + q * kQuad);
SPARTAN_UNROLL
      for (std::size_t i = 0; i < Blocks * kRegs; ++i) sum[p][i] = Q::dot(sum[p][i], cells[i], xq);
    }
  }
SPARTAN_UNROLL
  for (std::size_t p = 0; p < Positions; ++p) {
    const typename V::Reg scale = V::set1(x.scales[p0 + p]);
SPARTAN_UNROLL
    for (std::size_t i = 0; i < Blocks * kRegs; ++i) {
      const typename V::Reg both = V::mul(V::load(key_scales + i * V::kLanes), scale);
      V::store(out + (p0 + p) * out_stride + i * V::kLanes, V::mul(Q::to_float(sum[p][i]), both));
    }
  }
}

// `count` positions from p0 on with the tile that is made for so many.
template <std::size_t Positions, std::size_t Blocks>
void key_rest_int8(std::size_t count, const QuantizedRows& x, std::size_t p0, std::size_t quads,
                   const std::int8_t* keys, const float* key_scales, float* out, std::size_t out_stride) {
  if constexpr (Positions > 0) {
    if (count == Positions) {
      key_tile_int8<Positions, Blocks>(x, p0, quads, keys, key_scales, out, out_stride);
    } else {
      key_rest_int8<Positions - 1, Blocks>(count, x, p0, quads, keys, key_scales, out, out_stride);
    }
  }
}

template <std::size_t Blocks>
void key_blocks_int8(const QuantizedRows& x, std::size_t positions, std::size_t quads, const std::int8_t* keys,
                     const float* key_scales, float* out, std::size_t out_stride) {
  constexpr std::size_t kMost = kKeyPositions<Blocks>;
  // Tiles of nearly equal height: a thin last tile would leave the multipliers waiting for loads.
  std::size_t tiles = (positions + kMost - 1) / kMost;
  for (std::size_t p = 0; p < positions; --tiles) {
    const std::size_t count = (positions - p + tiles - 1) / tiles;
    key_rest_int8<kMost, Blocks>(count, x, p, quads, keys, key_scales, out, out_stride);
    p += count;
  }
}

void key_logits_int8(const QuantizedRows& x, std::size_t positions, std::size_t hidden, const std::int8_t* keys,
                     const float* key_scales, std::size_t blocks, float* out, std::size_t out_stride) {
  const std::size_t quads = (hidden + kQuad - 1) / kQuad;
  while (blocks > 0) {
    const std::size_t take = blocks < kKeyBlocks ? blocks : kKeyBlocks;
    switch (take) {
      case 1: key_blocks_int8<1>(x, positions, quads, keys, key_scales, out, out_stride); break;
      case 2:
        if constexpr (kKeyBlocks >= 2) key_blocks_int8<2>(x, positions, quads, keys, key_scales, out, out_stride);
        break;
      default:
        if constexpr (kKeyBlocks >= 3) key_blocks_int8<3>(x, positions, quads, keys, key_scales, out, out_stride);
        break;
    }
    keys += take * quads * kBlockBytes;
    key_scales += take * kBlockColumns;
    out += take * kBlockColumns;
    blocks -= take;
  }
}

// One block of 16 columns: integer sums over a group, times its scales, added in float.
template <std::size_t Positions>
inline void key_tile_int4(const QuantizedRows& x, std::size_t p0, std::size_t groups, const std::uint8_t* keys,
                          const float* key_scales, float* out, std::size_t out_stride) {
  typename V::Reg total[Positions][kRegs];
  for (auto& row : total) {
    for (auto& t : row) t = V::zero();
  }
  for (std::size_t g = 0; g < groups; ++g, keys += kInt4Group / 2 * kBlockColumns, key_scales += kBlockColumns) {
    typename Q::Acc sum[Positions][kRegs];
SPARTAN_UNROLL
    for (std::size_t p = 0; p < Positions; ++p) {
SPARTAN_UNROLL
      for (std::size_t r = 0; r < kRegs; ++r) sum[p][r] = Q::all(-8 * x.sums[(p0 + p) * groups + g]);
    }
    for (std::size_t octet = 0; octet < kInt4Group / 8; ++octet) {
      typename Q::Bytes low[kRegs], high[kRegs];
SPARTAN_UNROLL
      for (std::size_t r = 0; r < kRegs; ++r) {
        const typename Q::Bytes bytes = Q::load(as_signed(keys) + octet * kBlockBytes + r * kBytes);
        low[r] = Q::low(bytes);
        high[r] = Q::high(bytes);
      }
SPARTAN_UNROLL
      for (std::size_t p = 0; p < Positions; ++p) {
        const std::int8_t* row = x.cells + (p0 + p) * x.stride + g * kInt4Group + octet * 8;
        const typename Q::Bytes first = Q::quad(row), second = Q::quad(row + kQuad);
SPARTAN_UNROLL
        for (std::size_t r = 0; r < kRegs; ++r) {
          sum[p][r] = Q::dot_small(Q::dot_small(sum[p][r], low[r], first), high[r], second);
        }
      }
    }
SPARTAN_UNROLL
    for (std::size_t p = 0; p < Positions; ++p) {
SPARTAN_UNROLL
      for (std::size_t r = 0; r < kRegs; ++r) {
        total[p][r] = V::add(total[p][r], V::mul(Q::to_float(sum[p][r]), V::load(key_scales + r * V::kLanes)));
      }
    }
  }
SPARTAN_UNROLL
  for (std::size_t p = 0; p < Positions; ++p) {
    const typename V::Reg scale = V::set1(x.scales[p0 + p]);
SPARTAN_UNROLL
    for (std::size_t r = 0; r < kRegs; ++r) {
      V::store(out + (p0 + p) * out_stride + r * V::kLanes, V::mul(total[p][r], scale));
    }
  }
}

template <std::size_t Positions>
void key_rest_int4(std::size_t count, const QuantizedRows& x, std::size_t p0, std::size_t groups,
                   const std::uint8_t* keys, const float* key_scales, float* out, std::size_t out_stride) {
  if constexpr (Positions > 0) {
    if (count == Positions) {
      key_tile_int4<Positions>(x, p0, groups, keys, key_scales, out, out_stride);
    } else {
      key_rest_int4<Positions - 1>(count, x, p0, groups, keys, key_scales, out, out_stride);
    }
  }
}

void key_logits_int4(const QuantizedRows& x, std::size_t positions, std::size_t hidden, const std::uint8_t* keys,
                     const float* key_scales, std::size_t blocks, float* out, std::size_t out_stride) {
  const std::size_t groups = hidden / kInt4Group;
  for (std::size_t b = 0; b < blocks; ++b) {
    for (std::size_t p = 0; p < positions; p += kNibblePositions) {
      const std::size_t count = positions - p < kNibblePositions ? positions - p : kNibblePositions;
      key_rest_int4<kNibblePositions>(count, x, p, groups, keys + b * hidden / 2 * kBlockColumns,
                                      key_scales + b * groups * kBlockColumns, out + b * kBlockColumns, out_stride);
    }
  }
}

// One key by several positions along H, whose rows and the key are zero past H up to whole registers.
template <std::size_t Positions>
inline void dot_tile_int8(const QuantizedRows& x, const std::uint32_t* positions, const std::int8_t* key,
                          float key_scale, float* out, std::size_t out_stride) {
  typename Q::Acc sum[Positions];
  for (std::size_t i = 0; i < Positions; ++i) sum[i] = Q::all(0);
  for (std::size_t h = 0; h < x.stride; h += kBytes) {
    const typename Q::Cells cells = Q::cells(Q::load(key + h));
SPARTAN_UNROLL
    for (std::size_t i = 0; i < Positions; ++i) {
      sum[i] = Q::dot(sum[i], cells, Q::load(x.cells + positions[i] * x.stride + h));
    }
  }
SPARTAN_UNROLL
  for (std::size_t i = 0; i < Positions; ++i) {
    const std::int32_t total = Q::sum(sum[i]) + Q::start_of(x.sums[positions[i]]);
    out[i * out_stride] = static_cast<float>(total) * (key_scale * x.scales[positions[i]]);
  }
}

void key_dots_int8(const QuantizedRows& x, const std::uint32_t* positions, std::size_t position_count, std::size_t,
                   const std::int8_t* keys, const float* key_scales, std::size_t count, float* out) {
  for (std::size_t r = 0; r < count; ++r, keys += x.stride) {
    std::size_t i = 0;
    for (; i + kDotPositions <= position_count; i += kDotPositions) {
      dot_tile_int8<kDotPositions>(x, positions + i, keys, key_scales[r], out + i * count + r, count);
    }
    for (; i < position_count; ++i) {
      dot_tile_int8<1>(x, positions + i, keys, key_scales[r], out + i * count + r, count);
    }
  }
}

void key_dots_int4(const QuantizedRows& x, const std::uint32_t* positions, std::size_t position_count,
                   std::size_t hidden, const std::uint8_t* keys, const float* key_scales, std::size_t count,
                   float* out) {
  constexpr std::size_t kStep = R::kLanes * kQuad;  // bytes a register; divides the group
  const std::size_t groups = hidden / kInt4Group;
  for (std::size_t r = 0; r < count; ++r, keys += x.stride / 2, key_scales += groups) {
    for (std::size_t i = 0; i < position_count; ++i) {
      const std::int8_t* row = x.cells + positions[i] * x.stride;
      const std::int32_t* sums = x.sums + positions[i] * groups;
      typename R::Float::Reg total = R::Float::zero();
      for (std::size_t g = 0; g < groups; ++g) {
        typename R::Acc sum = R::first(-8 * sums[g]);
        for (std::size_t h = 0; h < kInt4Group; h += kStep) {
          const typename R::Bytes bytes = R::load(as_signed(keys) + g / 2 * kInt4Group + h);
          const typename R::Bytes cells = g % 2 == 0 ? R::low(bytes) : R::high(bytes);
          sum = R::dot_small(sum, cells, R::load(row + g * kInt4Group + h));
        }
        total = R::Float::add(total, R::Float::mul(R::to_float(sum), R::Float::set1(key_scales[g])));
      }
      out[i * count + r] = R::Float::sum(total) * x.scales[positions[i]];
    }
  }
}

// out = addend + scale * sums for up to 16 lanes-wide registers of consecutive columns, as far as the row goes.
template <std::size_t Registers>
inline void scale_and_store(const typename Q::Acc* sum, float scale, const float* addend, std::size_t columns,
                            float* out) {
  const typename V::Reg s = V::set1(scale);
SPARTAN_UNROLL
  for (std::size_t r = 0; r < Registers; ++r) {
    const std::size_t h = r * V::kLanes;
    const typename V::Reg y = V::mul(Q::to_float(sum[r]), s);
    if (h + V::kLanes <= columns) {
      V::store(out + h, addend != nullptr ? V::add(V::load(addend + h), y) : y);
    } else if (h < columns) {
      const std::size_t left = columns - h;
      V::store_part(out + h, addend != nullptr ? V::add(V::load_part(addend + h, left), y) : y, left);
    }
  }
}

// `Registers` vectors of consecutive columns from `first` on in a block of 64, going on into the blocks that follow.
template <std::size_t Registers, typename Steps = Q>
inline void weigh_columns_int8(const std::int8_t* values, std::size_t first, std::size_t value_quads,
                               const QuantizedWeights& weights, const float* addend, std::size_t positions,
                               std::size_t hidden, std::size_t columns, float* out) {
  constexpr std::size_t kQuadBytes = kValueColumns * kQuad;
  const std::uint32_t* quads = weights.quads;
  const std::int8_t* cells = weights.cells;
  values += first * kQuad;
  for (std::size_t p = 0; p < positions; ++p, quads += weights.stride, cells += weights.stride * kQuad) {
    if (p + 1 < positions) {  // the next row's part, which lies a whole row away
      for (std::size_t h = 0; h < Registers * Q::kLanes; h += 16) {
        if (addend != nullptr) __builtin_prefetch(addend + hidden + h);
        __builtin_prefetch(out + hidden + h, 1);
      }
    }
    typename Q::Acc sum[Registers];
SPARTAN_UNROLL
    for (std::size_t r = 0; r < Registers; ++r) sum[r] = Q::all(0);
    std::size_t i = 0;
    if constexpr (Steps::kPairs) {
      for (; i + 2 <= weights.counts[p]; i += 2) {
        const typename Q::Bytes w0 = Q::quad(cells + i * kQuad), w1 = Q::quad(cells + (i + 1) * kQuad);
        const std::int8_t* quad0 = values + quads[i] * kQuadBytes;
        const std::int8_t* quad1 = values + quads[i + 1] * kQuadBytes;
SPARTAN_UNROLL
        for (std::size_t r = 0; r < Registers; ++r) {
          const std::size_t at = r / kValueRegs * value_quads * kQuadBytes + r % kValueRegs * kBytes;
          sum[r] = Steps::dot2(sum[r], Q::load(quad0 + at), w0, Q::load(quad1 + at), w1);
        }
      }
    }
    for (; i < weights.counts[p]; ++i) {
      const typename Q::Bytes w = Q::quad(cells + i * kQuad);
      const std::int8_t* quad = values + quads[i] * kQuadBytes;
SPARTAN_UNROLL
      for (std::size_t r = 0; r < Registers; ++r) {
        const std::size_t at = r / kValueRegs * value_quads * kQuadBytes + r % kValueRegs * kBytes;
        sum[r] = Q::weigh(sum[r], Q::load(quad + at), w);
      }
    }
    scale_and_store<Registers>(sum, weights.scales[p], addend, columns, out);
    if (addend != nullptr) addend += hidden;
    out += hidden;
  }
}

void weighted_int8(const std::int8_t* values, std::size_t value_quads, const QuantizedWeights& weights,
                   const float* addend, std::size_t positions, std::size_t hidden, float* out) {
  static_assert(kWeightRegs % kValueRegs == 0 || kValueRegs % kWeightRegs == 0, "whole blocks, or parts of one");
  const std::size_t block = value_quads * kQuad * kValueColumns;
  const auto columns_from = [&](auto registers, std::size_t h, std::size_t columns) {
    weigh_columns_int8<decltype(registers)::value>(values + h / kValueColumns * block, h % kValueColumns, value_quads,
                                                   weights, addend != nullptr ? addend + h : nullptr, positions,
                                                   hidden, columns, out + h);
  };
  std::size_t h = 0;
  constexpr std::size_t kWhole = kWeightRegs * Q::kLanes;
  for (; h + kWhole <= hidden; h += kWhole) columns_from(std::integral_constant<std::size_t, kWeightRegs>{}, h, kWhole);
  // What is left, block by block or part by part: values past the row are there, and not used.
  constexpr std::size_t kLess = kWeightRegs < kValueRegs ? kWeightRegs : kValueRegs;
  for (; h < hidden; h += kLess * Q::kLanes) {
    columns_from(std::integral_constant<std::size_t, kLess>{}, h, hidden - h);
  }
}

void weighted_int4(const std::uint8_t* values, std::size_t value_quads, const QuantizedWeights& weights,
                   const float* addend, std::size_t positions, std::size_t hidden, float* out) {
  constexpr std::size_t kHalfRegs = kValueRegs / 2;
  // As many at a time as leave their sums in registers: where a sum takes two, half.
  constexpr std::size_t kPart = sizeof(typename Q::Acc) > sizeof(typename Q::Bytes) ? kHalfRegs / 2 : kHalfRegs;
  constexpr std::size_t kQuadBytes = kValueColumns / 2 * kQuad;
  const std::size_t groups = hidden / kInt4Group;
  for (std::size_t h = 0; h < hidden; h += kValueColumns, values += value_quads * kQuadBytes) {
    const bool whole = h + kInt4Group < hidden;  // both of the block's groups are inside the row
    for (std::size_t p = 0; p < positions; ++p) {
      const std::size_t group = p * groups + h / kInt4Group;
      const std::size_t other = whole ? group + 1 : group;
      const std::int8_t* w_low = weights.cells + (p * weights.stride * groups + h / kInt4Group) * kQuad;
      const std::int8_t* w_high = whole ? w_low + kQuad : w_low;
      const std::uint32_t* quads = weights.quads + p * weights.stride;
      const std::size_t at = p * hidden + h;
      for (std::size_t first = 0; first < kHalfRegs; first += kPart) {
        typename Q::Acc low[kPart], high[kPart];
SPARTAN_UNROLL
        for (std::size_t r = 0; r < kPart; ++r) {
          low[r] = Q::all(-8 * weights.sums[group]);
          high[r] = Q::all(-8 * weights.sums[other]);
        }
        for (std::size_t i = 0; i < weights.counts[p]; ++i) {
          const std::int8_t* quad = as_signed(values) + quads[i] * kQuadBytes + first * kBytes;
          const typename Q::Bytes wl = Q::quad(w_low + i * groups * kQuad), wh = Q::quad(w_high + i * groups * kQuad);
SPARTAN_UNROLL
          for (std::size_t r = 0; r < kPart; ++r) {
            const typename Q::Bytes bytes = Q::load(quad + r * kBytes);
            low[r] = Q::dot_small(low[r], Q::low(bytes), wl);
            high[r] = Q::dot_small(high[r], Q::high(bytes), wh);
          }
        }
        const std::size_t column = first * Q::kLanes;
        const auto store = [&](const typename Q::Acc* sums, float scale, std::size_t from) {
          const std::size_t start = at + from + column;
          scale_and_store<kPart>(sums, scale, addend != nullptr ? addend + start : nullptr, kInt4Group - column,
                                 out + start);
        };
        store(low, weights.scales[group], 0);
        if (whole) store(high, weights.scales[other], kInt4Group);
      }
    }
  }
}
