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

struct AttentionRows {
  const float* q;
  std::int64_t q_stride;
  const float* k;
  const float* v;
  std::int64_t kv_stride;
  const float* mask;  // [positions], or null
};

// Bytes of scratch that one thread needs, of any alignment; 0 for a shape that is not valid.
std::size_t attention_scratch_bytes(const AttentionShape& shape);

// out is [queries, heads * D], dense, and overlaps no input.
AttentionStatus attention_f32(const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin_head,
                              std::int64_t end_head, float* out, void* scratch, std::size_t scratch_size,
                              Isa isa = Isa::kBest);
// What kBest stands for on this machine.
Isa best_isa_attention();

}  // namespace spartan
