// int8 products by tile registers: 16 positions by up to four tiles of 16 columns, whose cells lie packed as tiles want
// them. Sums are integers, so results are those of every other instruction set, bit for bit.
#include "memory_lookup/quantized_avx512.inl"
#include "simd/amx.h"

namespace spartan {
namespace {

static_assert(kAllWeightsParents == V::kLanes && kAllWeightsChildren * V::kLanes == 64, "a register of each child");

constexpr std::size_t kTile = 16;        // rows of a tile, and columns of sums
constexpr std::size_t kTileBytes = 64;   // of a row
constexpr std::size_t kTiles = 4;        // tiles of sums: 0 to 3; 4 holds positions, 5 and 6 cells
constexpr std::size_t kMostQuads = 128;  // of values: beyond, weights are too sparse for tiles

struct Sums {
  alignas(64) std::int32_t of[kTiles][kTile][kTile];  // [tile, position, column]
};

// Tiles for `positions` rows of x or of weights, and cells in `quads` rows.
void configure(std::size_t positions, std::size_t quads) {
  alignas(64) TileShapes shapes{};
  shapes.palette = 1;
  for (std::size_t tile = 0; tile < kTiles; ++tile) {
    shapes.rows[tile] = static_cast<std::uint8_t>(positions);
    shapes.row_bytes[tile] = kTileBytes;
  }
  shapes.rows[4] = static_cast<std::uint8_t>(positions);
  shapes.row_bytes[4] = static_cast<std::uint16_t>(kQuad * quads);
  for (std::size_t tile = 5; tile <= 6; ++tile) {
    shapes.rows[tile] = static_cast<std::uint8_t>(quads);
    shapes.row_bytes[tile] = kTileBytes;
  }
  _tile_loadconfig(&shapes);
}

// sums[t] = rows * cells of tile t, over `steps` steps of a tile's quads. Rows are `row_stride` bytes apart, what one
// step takes `row_bytes`; a row of cells `quad_stride`, one tile's `tile_stride`, one step's `step_stride`.
struct Operands {
  const std::int8_t* rows;
  std::size_t row_stride, row_bytes;
  const std::int8_t* cells;
  std::size_t quad_stride, tile_stride, step_stride;
};

template <std::size_t Tiles>
inline void multiply(const Operands& o, std::size_t steps, Sums& sums) {
  _tile_zero(0);
  if constexpr (Tiles > 1) _tile_zero(1);
  if constexpr (Tiles > 2) _tile_zero(2);
  if constexpr (Tiles > 3) _tile_zero(3);
  const std::int8_t* cells = o.cells;
  for (std::size_t step = 0; step < steps; ++step, cells += o.step_stride) {
    _tile_loadd(4, o.rows + step * o.row_bytes, o.row_stride);
    _tile_loadd(5, cells, o.quad_stride);
    _tile_dpbssd(0, 4, 5);
    if constexpr (Tiles > 1) {
      _tile_loadd(6, cells + o.tile_stride, o.quad_stride);
      _tile_dpbssd(1, 4, 6);
    }
    if constexpr (Tiles > 2) {
      _tile_loadd(5, cells + 2 * o.tile_stride, o.quad_stride);
      _tile_dpbssd(2, 4, 5);
    }
    if constexpr (Tiles > 3) {
      _tile_loadd(6, cells + 3 * o.tile_stride, o.quad_stride);
      _tile_dpbssd(3, 4, 6);
    }
  }
  _tile_stored(0, sums.of[0], kTileBytes);
  if constexpr (Tiles > 1) _tile_stored(1, sums.of[1], kTileBytes);
  if constexpr (Tiles > 2) _tile_stored(2, sums.of[2], kTileBytes);
  if constexpr (Tiles > 3) _tile_stored(3, sums.of[3], kTileBytes);
}

inline void multiply(std::size_t tiles, const Operands& operands, std::size_t steps, Sums& sums) {
  switch (tiles) {
    case 1: multiply<1>(operands, steps, sums); break;
    case 2: multiply<2>(operands, steps, sums); break;
    case 3: multiply<3>(operands, steps, sums); break;
    default: multiply<4>(operands, steps, sums); break;
  }
}

inline std::size_t least(std::size_t a, std::size_t b) { return a < b ? a : b; }

void key_logits_tiles(const QuantizedRows& x, std::size_t positions, std::size_t hidden, const std::int8_t* keys,
                      const float* key_scales, std::size_t blocks, float* out, std::size_t out_stride) {
  const std::size_t quads = (hidden + kQuad - 1) / kQuad;
  if (quads % kTile != 0) {  // a tile would reach into the next block
    key_logits_int8(x, positions, hidden, keys, key_scales, blocks, out, out_stride);
    return;
  }
  const std::size_t block_bytes = quads * kBlockBytes;
  Sums sums;
  for (std::size_t p = 0; p < positions; p += kTile) {
    const std::size_t count = least(kTile, positions - p);
    if (p == 0 || count < kTile) configure(count, kTile);
    for (std::size_t b = 0; b < blocks; b += kTiles) {
      const std::size_t tiles = least(kTiles, blocks - b);
      multiply(tiles,
               {x.cells + p * x.stride, x.stride, kTileBytes, keys + b * block_bytes, kTileBytes, block_bytes,
                kTile * kTileBytes},
               quads / kTile, sums);
      for (std::size_t i = 0; i < count; ++i) {
        const V::Reg scale = V::set1(x.scales[p + i]);
        float* target = out + (p + i) * out_stride + b * kTile;
        for (std::size_t t = 0; t < tiles; ++t) {
          const V::Reg both = V::mul(V::load(key_scales + (b + t) * kTile), scale);
          V::store(target + t * kTile, V::mul(Q::to_float(_mm512_load_si512(sums.of[t][i])), both));
        }
      }
    }
  }
  _tile_release();  // or every change of thread would save them
}

#include "simd/exp.inl"

inline __mmask64 bytes_below(std::size_t count) { return count < 64 ? (__mmask64{1} << count) - 1 : ~__mmask64{0}; }

// Where byte e of children c, as packing leaves it, goes: to cell e * C + c.
struct CellOrder {
  alignas(64) std::uint8_t of[64] = {};

  CellOrder(std::size_t parents, std::size_t children) {
    for (std::size_t cell = 0; cell < parents * children; ++cell) {
      const std::size_t e = cell / children, c = cell % children;
      of[cell] = static_cast<std::uint8_t>(e / 4 * 16 + c * 4 + e % 4);  // packing works within 128 bits
    }
  }
};

// A register holds one child of every parent, so that the softmaxes run across registers.
template <std::size_t Children>
void all_weights_of(const Plan& plan, std::size_t positions, std::size_t stride, std::size_t first_child,
                    const float* value_scales) {
  const std::size_t parents = plan.parents;
  const auto lanes = static_cast<__mmask16>((1u << parents) - 1);
  const CellOrder cell_order(parents, Children);
  const __m512i order = _mm512_load_si512(cell_order.of), ones = _mm512_set1_epi8(1);
  const __m512i magnitudes = _mm512_set1_epi32(0x7fffffff);
  const std::size_t cells = kQuad * plan.quad_stride;
  V::Reg scales[Children];
  for (std::size_t c = 0; c < Children; ++c) {
    alignas(64) float of_child[kTile] = {};
    for (std::size_t e = 0; e < parents; ++e) of_child[e] = value_scales[e * Children + c];
    scales[c] = V::load(of_child);
  }
  for (std::size_t p = 0; p < positions; ++p) {
    const float* logits = plan.logits + p * stride;
    __mmask16 chosen = 0;
    for (std::size_t k = 0; k < plan.top_k; ++k) chosen |= static_cast<__mmask16>(1u << plan.chosen[p * plan.top_k + k]);
    const V::Reg parent = _mm512_maskz_loadu_ps(lanes, logits);
    const V::Reg shares = exp_lanes(V::sub(parent, V::set1(_mm512_mask_reduce_max_ps(lanes, parent))));
    alignas(64) float of_chosen[kTile];
    V::store(of_chosen, _mm512_maskz_compress_ps(chosen, shares));
    float total = 0;
    for (std::size_t k = 0; k < plan.top_k; ++k) total += of_chosen[k];

    V::Reg child[Children];
    for (std::size_t c = 0; c < Children; ++c) child[c] = _mm512_maskz_loadu_ps(lanes, logits + first_child + c * parents);
    V::Reg top = child[0];
    for (std::size_t c = 1; c < Children; ++c) top = V::max(top, child[c]);
    for (std::size_t c = 0; c < Children; ++c) child[c] = exp_lanes(V::sub(child[c], top));
    V::Reg sums = child[0];
    for (std::size_t c = 1; c < Children; ++c) sums = V::add(sums, child[c]);
    const V::Reg share = _mm512_maskz_div_ps(chosen, shares, V::mul(V::set1(total), sums));
    __m512i largest = _mm512_setzero_si512();
    for (std::size_t c = 0; c < Children; ++c) {
      child[c] = _mm512_maskz_mul_ps(chosen, V::mul(child[c], share), scales[c]);
      largest = _mm512_max_epi32(largest, _mm512_and_si512(_mm512_castps_si512(child[c]), magnitudes));
    }
    __m512i bytes = _mm512_setzero_si512();
    float inverse;
    if (find_scale(_mm512_reduce_max_epi32(largest), plan.weight_scales + p, &inverse)) {
      __m512i whole_numbers[4] = {};
      for (std::size_t c = 0; c < Children; ++c) whole_numbers[c] = _mm512_cvtps_epi32(V::mul(child[c], V::set1(inverse)));
      bytes = _mm512_permutexvar_epi8(order, _mm512_packs_epi16(_mm512_packs_epi32(whole_numbers[0], whole_numbers[1]),
                                                                _mm512_packs_epi32(whole_numbers[2], whole_numbers[3])));
    }
    bytes = _mm512_maskz_mov_epi8(bytes_below(parents * Children), bytes);
    plan.weight_sums[p] = Q::sum(Q::dot_small(Q::all(0), ones, bytes));
    _mm512_mask_storeu_epi8(plan.weight_cells + p * cells, bytes_below(cells), bytes);
    plan.quad_counts[p] = static_cast<std::uint32_t>(plan.quad_stride);
    for (std::size_t i = 0; i < plan.quad_stride; ++i) plan.quads[p * plan.quad_stride + i] = static_cast<std::uint32_t>(i);
  }
}

void all_weights(const Plan& plan, std::size_t positions, std::size_t stride, std::size_t first_child,
                 const float* value_scales) {
  switch (plan.children) {
    case 1: all_weights_of<1>(plan, positions, stride, first_child, value_scales); break;
    case 2: all_weights_of<2>(plan, positions, stride, first_child, value_scales); break;
    case 3: all_weights_of<3>(plan, positions, stride, first_child, value_scales); break;
    default: all_weights_of<4>(plan, positions, stride, first_child, value_scales); break;
  }
}

// Weights of 16 positions in every quad of cells.
struct DenseWeights {
  alignas(64) std::int8_t of[kTile][kQuad * kMostQuads];

  DenseWeights(const QuantizedWeights& weights, std::size_t first, std::size_t count, std::size_t value_quads) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t p = first + i;
      const std::uint32_t* quads = weights.quads + p * weights.stride;
      const std::int8_t* cells = weights.cells + p * weights.stride * kQuad;
      if (weights.counts[p] == value_quads) {  // all of them, in order
        __builtin_memcpy(of[i], cells, kQuad * value_quads);
        continue;
      }
      __builtin_memset(of[i], 0, kQuad * value_quads);
      for (std::size_t q = 0; q < weights.counts[p]; ++q) {
        __builtin_memcpy(of[i] + quads[q] * kQuad, cells + q * kQuad, kQuad);
      }
    }
  }
};

// Sums of one block of 64 columns, of which `columns` are inside the row, to results.
void store_block(const Sums& sums, const float* scales, std::size_t count, const float* addend, std::size_t hidden,
                 std::size_t columns, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    Q::Acc row[kTiles];
SPARTAN_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) row[t] = _mm512_load_si512(sums.of[t][i]);
    scale_and_store<kTiles>(row, scales[i], addend, columns, out);
    if (addend != nullptr) addend += hidden;
    out += hidden;
  }
}

void weighted_tiles(const std::int8_t* values, std::size_t value_quads, const QuantizedWeights& weights,
                    const float* addend, std::size_t positions, std::size_t hidden, float* out) {
  if (value_quads > kMostQuads) {
    weighted_int8(values, value_quads, weights, addend, positions, hidden, out);
    return;
  }
  std::size_t quads = kTile;  // of one step: as many as go into all without a rest
  while (value_quads % quads != 0) --quads;
  constexpr std::size_t kQuadBytes = kValueColumns * kQuad;
  Sums sums[2];  // those of one block are stored while the tiles work on the next
  for (std::size_t p = 0; p < positions; p += kTile) {
    const std::size_t count = least(kTile, positions - p);
    if (p == 0 || count < kTile) configure(count, quads);
    const DenseWeights dense(weights, p, count, value_quads);
    const auto store = [&](std::size_t block) {
      const std::size_t h = block * kValueColumns, at = p * hidden + h;
      store_block(sums[block % 2], weights.scales + p, count, addend != nullptr ? addend + at : nullptr, hidden,
                  least(kValueColumns, hidden - h), out + at);
    };
    const std::size_t blocks = (hidden + kValueColumns - 1) / kValueColumns;
    for (std::size_t b = 0; b < blocks; ++b) {
      multiply<kTiles>({dense.of[0], sizeof dense.of[0], kQuad * quads, values + b * value_quads * kQuadBytes,
                        kQuadBytes, kTileBytes, quads * kQuadBytes},
                       value_quads / quads, sums[b % 2]);
      if (b > 0) store(b - 1);
    }
    store(blocks - 1);
  }
  _tile_release();
}

}  // namespace

const QuantizedKernels kMemoryLookupQuantized_amx = {
    quantize_whole_rows,   key_logits_tiles,      key_logits_int4, key_dots_int8, key_dots_int4,
    quantize_weights_int8, quantize_weights_int4, weighted_tiles,  weighted_int4,
    all_weights};

}  // namespace spartan
