// Checks, scratch, and the walk over heads that is the same for every instruction set.
#include "spartan/attention.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "attention/f32_kernels.h"

namespace spartan {
namespace {

constexpr std::size_t kAlignment = 64;

std::size_t padded(std::int64_t count) {
  return (static_cast<std::size_t>(count) + kAttentionPad - 1) / kAttentionPad * kAttentionPad;
}

bool valid(const AttentionShape& shape) {
  return shape.queries >= 0 && shape.positions >= 1 && shape.positions <= kMaxCells && shape.heads >= 1 &&
         shape.heads <= kMaxHidden && shape.head_size >= 1 && shape.head_size <= kMaxHeadSize;
}

const AttentionKernels* kernels_of(Isa isa) {
  const std::uint32_t features = cpu_features();
  const AttentionKernels* best = nullptr;
#define SPARTAN_ATTENTION(enumerator, suffix, needed)                                     \
  if ((features & (needed)) == (needed) && (isa == Isa::kBest || isa == Isa::enumerator)) \
    best = &kAttentionF32_##suffix;
#include "attention/f32_kernels.inc"
#undef SPARTAN_ATTENTION
  return best;
}

// One head's keys and values as the products read them, and rows of scores; all counts are multiples of 16.
struct Scratch {
  float *mask, *keys, *values, *scores, *sums;
  std::size_t length, width;

  Scratch(const AttentionShape& shape, void* memory) : length(padded(shape.positions)), width(padded(shape.head_size)) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    mask = reinterpret_cast<float*>((address + kAlignment - 1) / kAlignment * kAlignment);
    keys = mask + length;                                                            // [D, length]
    values = keys + static_cast<std::size_t>(shape.head_size) * length;              // [positions, width]
    scores = values + static_cast<std::size_t>(shape.positions) * width;             // [kAttentionRows, length]
    sums = scores + kAttentionRows * length;                                         // [kAttentionRows, width]
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

}  // namespace

Isa best_isa_attention() {
  Isa best = Isa::kPortable;
#define SPARTAN_ATTENTION(enumerator, suffix, needed) \
  if ((cpu_features() & (needed)) == (needed)) best = Isa::enumerator;
#include "attention/f32_kernels.inc"
#undef SPARTAN_ATTENTION
  return best;
}

std::size_t attention_scratch_bytes(const AttentionShape& shape) {
  if (!valid(shape)) return 0;
  const std::size_t length = padded(shape.positions), width = padded(shape.head_size);
  const std::size_t count = length + static_cast<std::size_t>(shape.head_size) * length +
                            static_cast<std::size_t>(shape.positions) * width + kAttentionRows * (length + width);
  return count * sizeof(float) + kAlignment;
}

Status attention_f32(const AttentionShape& shape, const AttentionRows& rows, std::int64_t begin_head,
                     std::int64_t end_head, float* out, void* memory, std::size_t scratch_size, Isa isa) {
  if (!valid(shape)) return Status::kBadHidden;
  if (begin_head < 0 || end_head < begin_head || end_head > shape.heads) return Status::kBadRange;
  if (shape.queries == 0 || begin_head == end_head) return Status::kOk;
  if (rows.q == nullptr || rows.k == nullptr || rows.v == nullptr || out == nullptr || memory == nullptr) {
    return Status::kNullPointer;
  }
  if (scratch_size < attention_scratch_bytes(shape)) return Status::kScratchTooSmall;
  const AttentionKernels* kernels = kernels_of(isa);
  if (kernels == nullptr) return Status::kNoSuchKernel;

  Scratch scratch(shape, memory);
  const auto positions = static_cast<std::size_t>(shape.positions), queries = static_cast<std::size_t>(shape.queries);
  const auto size = static_cast<std::size_t>(shape.head_size);
  const auto q_stride = static_cast<std::size_t>(rows.q_stride);
  const std::size_t out_stride = static_cast<std::size_t>(shape.heads) * size;
  for (std::size_t j = 0; j < scratch.length; ++j) {
    scratch.mask[j] = j >= positions ? -std::numeric_limits<float>::infinity() : rows.mask != nullptr ? rows.mask[j] : 0.0f;
  }
  for (auto head = static_cast<std::size_t>(begin_head); head < static_cast<std::size_t>(end_head); ++head) {
    const std::size_t first = head * size;
    pack_head(shape, rows, first, scratch);
    for (std::size_t i = 0; i < queries; i += kAttentionRows) {
      const std::size_t count = std::min(kAttentionRows, queries - i);
      kernels->product(rows.q + i * q_stride + first, q_stride, count, scratch.keys, scratch.length, size,
                       scratch.length, scratch.scores, scratch.length);
      float total[kAttentionRows];
      for (std::size_t r = 0; r < count; ++r) {
        total[r] = kernels->exponentials(scratch.scores + r * scratch.length, scratch.mask, scratch.length);
      }
      kernels->product(scratch.scores, scratch.length, count, scratch.values, scratch.width, positions, scratch.width,
                       scratch.sums, scratch.width);
      for (std::size_t r = 0; r < count; ++r) {
        const float share = 1.0f / total[r];
        float* target = out + (i + r) * out_stride + first;
        for (std::size_t c = 0; c < size; ++c) target[c] = scratch.sums[r * scratch.width + c] * share;
      }
    }
  }
  return Status::kOk;
}

}  // namespace spartan
