// Checks, scratch, and the walk over heads that is the same for every instruction set.
#include "spartan/attention.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "attention/f32_kernels.h"
#include "attention/half_kernels.h"
#include "attention/relative.h"
#include "cpu/dispatch.h"

namespace spartan {
namespace {

constexpr std::size_t kAlignment = 64;

std::size_t padded(std::int64_t count) { return padded_columns(static_cast<std::size_t>(count)); }

constexpr Implementation<const AttentionKernels*> kKernels[] = {
#define SPARTAN_ATTENTION(isa, suffix) {Isa::isa, &kAttentionF32_##suffix},
#include "attention/f32_kernels.inc"
#undef SPARTAN_ATTENTION
};

#if defined(__aarch64__)
constexpr Implementation<const HalfAttention*> kHalf[] = {{Isa::kNeonHalf, &kHalfAttention_neonhalf}};
const HalfAttention* half_attention() { return find_kernels(kHalf, Isa::kBest); }
#else
const HalfAttention* half_attention() { return nullptr; }
#endif

// One head's keys and values as the products read them, and rows of scores; all counts are multiples of 16.
struct Scratch {
  float *mask, *keys, *values, *scores, *sums, *relative;
  std::size_t length, width;

  Scratch(const AttentionShape& shape, void* memory) : length(padded(shape.positions)), width(padded(shape.head_size)) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    mask = reinterpret_cast<float*>((address + kAlignment - 1) / kAlignment * kAlignment);
    keys = mask + length;                                                            // [D, length]
    values = keys + static_cast<std::size_t>(shape.head_size) * length;              // [positions, width]
    scores = values + static_cast<std::size_t>(shape.positions) * width;             // [kAttentionRows, length]
    sums = scores + kAttentionRows * length;                                         // [kAttentionRows, width]
    relative = sums + kAttentionRows * width;
  }
};

void pack_head(const AttentionShape& shape, const AttentionRows& rows, std::size_t first, Scratch& scratch) {
  const auto positions = static_cast<std::size_t>(shape.positions), size = static_cast<std::size_t>(shape.head_size);
  const auto stride = static_cast<std::size_t>(rows.kv_stride);
  // Eight positions at a time: eight lines are read from, and each line written is written whole.
  for (std::size_t j = 0; j < scratch.length; j += 8) {
    const std::size_t count = j < positions ? std::min<std::size_t>(8, positions - j) : 0;
    for (std::size_t c = 0; c < size; ++c) {
      float* target = scratch.keys + c * scratch.length + j;
      for (std::size_t i = 0; i < count; ++i) target[i] = rows.k[(j + i) * stride + first + c];
      for (std::size_t i = count; i < 8; ++i) target[i] = 0;
    }
  }
  for (std::size_t j = 0; j < positions; ++j) {
    float* target = scratch.values + j * scratch.width;
    std::copy_n(rows.v + j * stride + first, size, target);
    std::fill(target + size, target + scratch.width, 0.0f);
  }
}

// One head in float; `scratch` has the mask.
void attend(const AttentionKernels& kernels, const AttentionShape& shape, const AttentionRows& rows, std::size_t first,
            Scratch& scratch, float* out, std::size_t out_stride) {
  const auto positions = static_cast<std::size_t>(shape.positions), queries = static_cast<std::size_t>(shape.queries);
  const auto size = static_cast<std::size_t>(shape.head_size);
  const auto q_stride = static_cast<std::size_t>(rows.q_stride), window = static_cast<std::size_t>(rows.window);
  pack_head(shape, rows, first, scratch);
  if (rows.relative != nullptr) key_scores(kernels, shape, rows, first, scratch.relative);
  for (std::size_t i = 0; i < queries; i += kAttentionRows) {
    const std::size_t count = std::min(kAttentionRows, queries - i);
    const Columns columns(i, count, window, scratch.length);
    const std::size_t width = columns.end - columns.begin;
    kernels.product(rows.q + i * q_stride + first, q_stride, count, scratch.keys + columns.begin, scratch.length, size,
                    width, scratch.scores, scratch.length);
    if (rows.relative != nullptr) {
      add_distances(kernels, shape, rows, first, i, count, scratch.relative, scratch.scores, scratch.length);
    }
    float total[kAttentionRows];
    for (std::size_t r = 0; r < count; ++r) {
      float* scores = scratch.scores + r * scratch.length;
      columns.fill_beyond(i + r, window, scores, -std::numeric_limits<float>::infinity());
      total[r] = kernels.exponentials(scores, scratch.mask + columns.begin, width);
      // An exponential is at least the smallest normal number, whose products with values would be slow ones.
      columns.fill_beyond(i + r, window, scores, 0.0f);
    }
    kernels.product(scratch.scores, scratch.length, count, scratch.values + columns.begin * scratch.width, scratch.width,
                    std::min(columns.end, positions) - columns.begin, scratch.width, scratch.sums, scratch.width);
    for (std::size_t r = 0; r < count; ++r) {
      const float share = 1.0f / total[r];
      float* target = out + (i + r) * out_stride + first;
      for (std::size_t c = 0; c < size; ++c) target[c] = scratch.sums[r * scratch.width + c] * share;
    }
  }
}

AttentionStatus check(const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin_head,
                      std::int64_t end_head, const float* out, const void* memory) {
  if (const AttentionStatus status = check(shape); status != AttentionStatus::kOk) return status;
  if (begin_head < 0 || end_head < begin_head || end_head > shape.heads) return AttentionStatus::kBadRange;
  if (shape.queries == 0 || begin_head == end_head) return AttentionStatus::kOk;
  if (rows.q == nullptr || rows.k == nullptr || rows.v == nullptr || out == nullptr || memory == nullptr) {
    return AttentionStatus::kNullPointer;
  }
  const RelativePositions* relative = rows.relative;
  if (rows.window < 0 || (rows.window < kMaxPositions && relative != nullptr)) return AttentionStatus::kBadReach;
  if (rows.window < kMaxPositions && shape.queries > shape.positions) return AttentionStatus::kBadQueries;
  if (relative != nullptr) {
    if (shape.queries > shape.positions) return AttentionStatus::kBadQueries;
    if (relative->reach < shape.positions || relative->reach > kMaxPositions ||
        relative->stride < relative_stride(relative->reach)) {
      return AttentionStatus::kBadReach;
    }
  }
  return AttentionStatus::kOk;
}

// Every head, by `half` where there is one and it takes the head's numbers.
AttentionStatus attend_all(const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin_head,
                           std::int64_t end_head, float* out, void* memory, const AttentionKernels* kernels,
                           const HalfAttention* half) {
  if (kernels == nullptr) return AttentionStatus::kNoSuchKernel;
  Scratch scratch(shape, memory);
  const auto positions = static_cast<std::size_t>(shape.positions), size = static_cast<std::size_t>(shape.head_size);
  const std::size_t out_stride = static_cast<std::size_t>(shape.heads) * size;
  for (std::size_t j = 0; j < scratch.length; ++j) {
    scratch.mask[j] = j >= positions ? -std::numeric_limits<float>::infinity() : rows.mask != nullptr ? rows.mask[j] : 0.0f;
  }
  for (auto head = static_cast<std::size_t>(begin_head); head < static_cast<std::size_t>(end_head); ++head) {
    // What half precision works in lies behind the mask, where float's own tensors are.
    if (half != nullptr && half->head(shape, rows, head * size, scratch.mask, scratch.length, scratch.keys, out, out_stride)) {
      continue;
    }
    attend(*kernels, shape, rows, head * size, scratch, out, out_stride);
  }
  return AttentionStatus::kOk;
}

}  // namespace

const char* describe(AttentionStatus status) {
  switch (status) {
    case AttentionStatus::kOk: return "ok";
    case AttentionStatus::kBadQueries: return "the number of queries must not be negative, nor above the positions where distances or a window count";
    case AttentionStatus::kBadPositions: return "the number of positions must be within 1 and 1048576";
    case AttentionStatus::kBadHeads: return "the number of heads must be within 1 and 65536";
    case AttentionStatus::kBadHeadSize: return "the size of a head must be within 1 and 1024";
    case AttentionStatus::kBadRange: return "the range of heads must be 0 <= begin <= end, within what there is";
    case AttentionStatus::kBadReach: return "tables of distances must reach as far as the positions, and past their end; a window is not negative, nor beside them";
    case AttentionStatus::kNullPointer: return "a tensor or the scratch is missing";
    case AttentionStatus::kScratchTooSmall: return "the scratch is smaller than attention_scratch_bytes() says";
    case AttentionStatus::kNoSuchKernel: return "this machine does not have the instruction set asked for";
  }
  return "unknown status";
}

AttentionStatus check(const AttentionShape& shape) {
  if (shape.queries < 0) return AttentionStatus::kBadQueries;
  if (shape.positions < 1 || shape.positions > kMaxPositions) return AttentionStatus::kBadPositions;
  if (shape.heads < 1 || shape.heads > kMaxHeads) return AttentionStatus::kBadHeads;
  if (shape.head_size < 1 || shape.head_size > kMaxHeadSize) return AttentionStatus::kBadHeadSize;
  return AttentionStatus::kOk;
}

Isa best_isa_attention() { return best_isa(kKernels); }

Isa best_isa_attention_half() { return half_attention() != nullptr ? Isa::kNeonHalf : best_isa_attention(); }

std::size_t attention_scratch_bytes(const AttentionShape& shape, bool relative) {
  if (check(shape) != AttentionStatus::kOk) return 0;
  const std::size_t length = padded(shape.positions), width = padded(shape.head_size);
  const std::size_t count = length + static_cast<std::size_t>(shape.head_size) * length +
                            static_cast<std::size_t>(shape.positions) * width + kAttentionRows * (length + width) +
                            (relative ? relative_scratch(shape) : 0);
  return count * sizeof(float) + kAlignment;
}

std::size_t attention_half_scratch_bytes(const AttentionShape& shape, bool relative) {
  const std::size_t bytes = attention_scratch_bytes(shape, relative);
  const HalfAttention* half = half_attention();
  if (bytes == 0 || half == nullptr) return bytes;
  return std::max(bytes, padded(shape.positions) * sizeof(float) + half->scratch_bytes(shape) + kAlignment);
}

AttentionStatus attention_f32(const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin_head,
                              std::int64_t end_head, float* out, void* memory, std::size_t scratch_size, Isa isa) {
  const AttentionStatus status = check(shape, rows, begin_head, end_head, out, memory);
  if (status != AttentionStatus::kOk || shape.queries == 0 || begin_head == end_head) return status;
  if (scratch_size < attention_scratch_bytes(shape, rows.relative != nullptr)) return AttentionStatus::kScratchTooSmall;
  return attend_all(shape, rows, begin_head, end_head, out, memory, find_kernels(kKernels, isa), nullptr);
}

AttentionStatus attention_half(const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin_head,
                               std::int64_t end_head, float* out, void* memory, std::size_t scratch_size) {
  const AttentionStatus status = check(shape, rows, begin_head, end_head, out, memory);
  if (status != AttentionStatus::kOk || shape.queries == 0 || begin_head == end_head) return status;
  if (scratch_size < attention_half_scratch_bytes(shape, rows.relative != nullptr)) {
    return AttentionStatus::kScratchTooSmall;
  }
  const HalfAttention* half = rows.relative == nullptr ? half_attention() : nullptr;
  return attend_all(shape, rows, begin_head, end_head, out, memory, find_kernels(kKernels, Isa::kBest), half);
}

}  // namespace spartan
