// Two-level sparse memory lookup: torch-free kernels on raw pointers.
//
// Source: SPARTAN, arXiv 2211.16634, section 3. For one position's vector x of length H:
//
//     p_E  = parents_EH · x                    parent logits
//     S    = the K largest of p                exact ties take the lower index
//     a_S  = softmax(p_S)
//     c_eC = keys_e · x / temperature          for e in S; C = M / E cells a parent
//     b_eC = softmax(c_e)                      within one parent
//     y_H  = sum_{e in S} a_e sum_m b_em values_em
//     out  = y, or x + y with `residual`, then LayerNorm over H where `norm_weight` is given
//
// Legend: P positions, H hidden, E parents, M cells in all (cells of parent e at rows e*C to e*C + C - 1), K top_k.
//
// Memory: all tensors are dense and need the alignment of their element only. Nothing is read or written outside
// the sizes stated, whatever the values are: NaN and infinite inputs still select K distinct valid parents
// (NaN counts as the largest value) and then show up in that position's output and in no other's.
// `out` may be `x` itself; any other overlap of `out` with an input is not allowed.
//
// Threads: every call works on the positions [begin, end) alone, so a caller's thread pool splits positions; each
// thread brings its own scratch. The result of a position does not depend on how positions are split.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spartan/isa.h"

namespace spartan {

enum class Status : std::int32_t {
  kOk = 0,
  kBadHidden,         // H not within 1 to kMaxHidden
  kBadParents,        // E not within 1 to kMaxParents
  kBadCells,          // M not a positive multiple of E, or above kMaxCells
  kBadTopK,           // K not within 1 to E
  kBadTemperature,    // not finite or not above zero
  kBadRange,          // begin < 0 or end < begin
  kBadNorm,           // norm_bias without norm_weight, or norm_eps negative or not finite
  kNullPointer,       // a needed pointer is null
  kScratchTooSmall,   // fewer bytes than scratch_bytes() says
  kBadGroups,         // int4: H is not a multiple of 32
  kNoSuchKernel,      // the instruction set asked for is not on this machine
};

// A sentence that says what was wrong; never null.
const char* describe(Status status);

constexpr std::int64_t kMaxHidden = 1 << 16;
constexpr std::int64_t kMaxParents = 1 << 16;
constexpr std::int64_t kMaxCells = 1 << 20;

constexpr std::int64_t kBlockColumns = 16;  // columns of one packed block of logit weights
constexpr std::int64_t kValueColumns = 64;  // columns of one packed block of values

struct MemoryShape {
  std::int64_t hidden;   // H
  std::int64_t parents;  // E
  std::int64_t cells;    // M
  std::int64_t top_k;    // K
};

// Checks every dimension; the entry points call it too.
Status check(const MemoryShape& shape);

// What follows the lookup in the same pass over the row.
struct Epilogue {
  bool residual = false;               // out = x + y
  const float* norm_weight = nullptr;  // [H]; null: no LayerNorm
  const float* norm_bias = nullptr;    // [H] or null
  float norm_eps = 1e-5f;
};

// The ones that kBest stands for on this machine.
Isa best_isa_f32();
Isa best_isa_quantized();

// All tensors row-major, as the operator `spartan::memory_lookup` has them.
struct RowsF32 {
  const float* parents;  // [E, H]
  const float* keys;     // [M, H]
  const float* values;   // [M, H]
  float temperature;
};

// A memory packed once for the kernels, in one of two forms.
//
// All packed (keys == null), for memories of which a position uses a large part of the cells:
//     logit_weights[n / 16][h][n % 16]   float [ceil((E + M) / 16), H, 16]
//         column n < E:           parent n
//         column n = E + c*E + e: key of child c of parent e (cell e*C + c), divided by the temperature
//         so that all logits come out of one blocked product, and the softmaxes run along parents
//     values[h / 64][m][h % 64]          float [ceil(H / 64), M, 64]
//         so that the columns at work lie together in L1
//
// Parents packed (keys != null), for memories with many more cells than a position uses:
//     logit_weights   as above with the parents' columns alone: float [ceil(E / 16), H, 16]
//     keys            [M, H] row-major, divided by the temperature, read for the chosen parents alone
//     values          [M, H] row-major
//
// Padding (columns past the last) must be finite; the packers write zeros. It is read, and not used.
struct PackedF32 {
  const float* logit_weights;
  const float* keys;
  const float* values;
};

// Quantised cells: keys and values, the parents staying in float32 because a flipped parent is a jump. x is quantised
// by row and weights by position, and products are those of integers: see memory_lookup/quantized_kernels.h for what is
// rounded where. Parents' logit weights are always packed alone: float [ceil(E / 16), H, 16]. Scales are not negative.
// Keys come in the two forms of PackedF32 (`rows` says which; cell m = e*C + c is at column n = c*E + e of packed keys),
// values always in quads of consecutive cells, Q = 4 ceil(M / 16) of them:
//
// int8, a scale a cell: key = key_cells * key_scale (which has 1 / temperature in it), value = value_cells * value_scale.
//   packed   key_cells    int8 [ceil(M / 16), ceil(H / 4), 16, 4]   (n / 16, h / 4, n % 16, h % 4)
//            key_scales   float [ceil(M / 16) * 16] by column n
//   rows     key_cells    int8 [M, ceil(H / 64) * 64];  key_scales float [M]
//            value_cells  int8 [ceil(H / 64), Q, 64, 4]             (h / 64, m / 4, h % 64, m % 4)
//            value_scales float [Q * 4]
struct Int8Memory {
  const float* logit_weights;
  const std::int8_t* key_cells;
  const float* key_scales;
  const std::int8_t* value_cells;
  const float* value_scales;
  bool rows;
};

// int4, a scale for every 32 hidden of a cell; H is a multiple of 32. A nibble holds the value plus 8.
//   packed   key_cells    bytes [ceil(M / 16), H / 8, 16, 4]: byte j of (n / 16, h / 8, n % 16) holds h % 8 = j in its
//                         low and j + 4 in its high nibble
//            key_scales   float [ceil(M / 16), H / 32, 16]          (n / 16, h / 32, n % 16)
//   rows     key_cells    bytes [M, ceil(H / 64) * 32]: in every 32 bytes, byte i holds h % 64 = i in its low and i + 32
//                         in its high nibble;  key_scales float [M, H / 32]
//            value_cells  bytes [ceil(H / 64), Q, 32, 4]: byte (h / 64, m / 4, i, m % 4) holds h % 64 = i in its low
//                         and i + 32 in its high nibble
//            value_scales float [Q * 4, H / 32]
// Padding of cells must stand for zero (nibble 8), padding of scales must be finite.
struct Int4Memory {
  const float* logit_weights;
  const std::uint8_t* key_cells;
  const float* key_scales;
  const std::uint8_t* value_cells;
  const float* value_scales;
  bool rows;
};

constexpr std::int64_t kInt4Group = 32;

// How cells are stored, for scratch_bytes.
enum class Cells : std::int32_t { kF32 = 0, kInt8, kInt4 };

// Bytes of scratch that one thread needs for a valid shape, of any alignment; 0 for an invalid one. Does not grow with
// the number of positions.
std::size_t scratch_bytes(const MemoryShape& shape, Cells cells = Cells::kF32);

// x and out are [P, H] row-major, of which rows [begin, end) are read and written.
Status memory_lookup_rows_f32(const MemoryShape& shape, const RowsF32& memory, const Epilogue& epilogue, const float* x,
                              std::int64_t begin, std::int64_t end, float* out, void* scratch,
                              std::size_t scratch_size, Isa isa = Isa::kBest);

Status memory_lookup_packed_f32(const MemoryShape& shape, const PackedF32& memory, const Epilogue& epilogue,
                                const float* x, std::int64_t begin, std::int64_t end, float* out, void* scratch,
                                std::size_t scratch_size, Isa isa = Isa::kBest);

Status memory_lookup_int8(const MemoryShape& shape, const Int8Memory& memory, const Epilogue& epilogue, const float* x,
                          std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t scratch_size,
                          Isa isa = Isa::kBest);

Status memory_lookup_int4(const MemoryShape& shape, const Int4Memory& memory, const Epilogue& epilogue, const float* x,
                          std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t scratch_size,
                          Isa isa = Isa::kBest);

}  // namespace spartan
