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
  kNoSuchKernel,      // the instruction set asked for is not on this machine
};

// A sentence that says what was wrong; never null.
const char* describe(Status status);

constexpr std::int64_t kMaxHidden = 1 << 16;
constexpr std::int64_t kMaxParents = 1 << 16;
constexpr std::int64_t kMaxCells = 1 << 20;

// Columns of one packed block of logit weights.
constexpr std::int64_t kBlockColumns = 16;

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

// Instruction sets, from plain to best. `kBest` is the best one of this machine.
enum class Isa : std::int32_t { kBest = 0, kPortable, kAvx2, kAvx512, kNeon };

const char* isa_name(Isa isa);
// The one that kBest stands for on this machine.
Isa best_isa_f32();

// All tensors row-major, as the operator `spartan::memory_lookup` has them.
struct RowsF32 {
  const float* parents;  // [E, H]
  const float* keys;     // [M, H]
  const float* values;   // [M, H]
  float temperature;
};

// Logit weights packed once, in blocks of 16 columns with H running slower than the column:
//
//     logit_weights[(n / 16) * H * 16 + h * 16 + n % 16] = weight of hidden h for logit n,     n in [0, N)
//
// keys == null:  N = E + M, parents first, then keys / temperature; all logits come out of one blocked product.
// keys != null:  N = E, parents only; `keys` is [M, H] row-major, already divided by the temperature, and is read
//                for the chosen parents only. Better where M is much larger than K*C.
//
// There are ceil(N / 16) blocks; columns past N must be finite (the packers write zeros) and are not used.
struct PackedF32 {
  const float* logit_weights;  // [ceil(N / 16), H, 16]
  const float* keys;           // null or [M, H]
  const float* values;         // [M, H] row-major
};

// Bytes of scratch that one thread needs for any fp32 form of a valid shape, of any alignment; 0 for an invalid one.
// Does not grow with the number of positions.
std::size_t scratch_bytes(const MemoryShape& shape);

// x and out are [P, H] row-major, of which rows [begin, end) are read and written.
Status memory_lookup_rows_f32(const MemoryShape& shape, const RowsF32& memory, const Epilogue& epilogue, const float* x,
                              std::int64_t begin, std::int64_t end, float* out, void* scratch,
                              std::size_t scratch_size, Isa isa = Isa::kBest);

Status memory_lookup_packed_f32(const MemoryShape& shape, const PackedF32& memory, const Epilogue& epilogue,
                                const float* x, std::int64_t begin, std::int64_t end, float* out, void* scratch,
                                std::size_t scratch_size, Isa isa = Isa::kBest);

}  // namespace spartan
