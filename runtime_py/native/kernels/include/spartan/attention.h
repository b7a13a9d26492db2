// Attention of one sentence, head by head: torch-free kernels on raw pointers.
//
//     s[i][j] = sum_c q[i][c] * k[j][c] + mask[j]           c over the D numbers of a head
//     out[i]  = sum_j softmax(s[i])[j] * v[j]
//
// The scale of the scores is the query's: it is folded into the weights that make q. Rows of q, k, v and out hold all
// heads one after the other, head h at [h * D, (h + 1) * D), so that q, k and v may be parts of one matrix; strides are
// in elements. Nothing is read or written outside the sizes stated; tensors need the alignment of their element only.
// No square of scores is ever stored: a few rows of them live in scratch, of which each thread brings its own.
// Every call works on the heads [begin, end) alone, and results do not depend on how heads are split.
//
// Relative positions (DeBERTa) add to every score what a query says of the key's distance, and a key of the query's:
//
//     s[i][j] += sum_c q[i][c] * to_keys[c][N - 1 + j - i] + k[j][c] * to_queries[c][N - 1 + i - j]
//
// with tables that hold every distance below N in its own column, so that the columns of neighbours are neighbours. A
// query that the mask takes out then looks at all positions alike. Here a square of scores of one head is in scratch.
//
// In a window (ModernBERT) query i looks at the keys j of |i - j| <= window alone, and only these are computed, but for
// the ends of blocks of queries. A query all of whose keys the mask takes out looks at them alike.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spartan/isa.h"

namespace spartan {

constexpr std::int64_t kMaxPositions = std::int64_t{1} << 20;
constexpr std::int64_t kMaxHeads = 65536;
constexpr std::int64_t kMaxHeadSize = 1024;

enum class AttentionStatus : std::int32_t {
  kOk = 0,
  kBadQueries,
  kBadPositions,
  kBadHeads,
  kBadHeadSize,
  kBadRange,
  kBadReach,
  kNullPointer,
  kScratchTooSmall,
  kNoSuchKernel,
};
const char* describe(AttentionStatus status);

struct AttentionShape {
  std::int64_t queries;    // rows of q and out
  std::int64_t positions;  // rows of k and v, numbers of mask; 1 to kMaxPositions
  std::int64_t heads;      // 1 to kMaxHeads
  std::int64_t head_size;  // D, 1 to kMaxHeadSize
};
AttentionStatus check(const AttentionShape& shape);

// Tables of distances, either of which may be null: rows of `stride` floats, row h * D + c for number c of head h.
struct RelativePositions {
  const float* to_keys;
  const float* to_queries;
  std::int64_t stride;  // at least relative_stride(reach): products read past the last distance, and drop what they get
  std::int64_t reach;   // N: at least the positions of a shape
};
constexpr std::int64_t relative_stride(std::int64_t reach) { return 2 * reach + 15; }

struct AttentionRows {
  const float* q;
  std::int64_t q_stride;
  const float* k;
  const float* v;
  std::int64_t kv_stride;
  const float* mask;  // [positions], or null
  // With either, queries are the first of the positions; there are not both.
  const RelativePositions* relative = nullptr;
  std::int64_t window = kMaxPositions;  // which is none
};

// Bytes of scratch that one thread needs, of any alignment; 0 for a shape that is not valid.
std::size_t attention_scratch_bytes(const AttentionShape& shape, bool relative = false);

// out is [queries, heads * D], dense, and overlaps no input.
AttentionStatus attention_f32(const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin_head,
                              std::int64_t end_head, float* out, void* scratch, std::size_t scratch_size,
                              Isa isa = Isa::kBest);
// What kBest stands for on this machine.
Isa best_isa_attention();

// The same for programs that are rounded to 8 bits anyway: in half precision, sums of at most 64 products at a time, where
// this processor computes in it and a head's numbers are within its reach; everything else is attention_f32. Relative
// positions are computed in float.
AttentionStatus attention_half(const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin_head,
                               std::int64_t end_head, float* out, void* scratch, std::size_t scratch_size);
// Bytes of scratch that one thread needs for it, of any alignment; 0 for a shape that is not valid.
std::size_t attention_half_scratch_bytes(const AttentionShape& shape, bool relative = false);
// kNeonHalf, or what attention_f32 takes where this processor has no half precision.
Isa best_isa_attention_half();

}  // namespace spartan
