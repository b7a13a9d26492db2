// The fp32 memory lookup: checks, tiling, selection and softmaxes; the loops over H are in the kernel sets.
#include <algorithm>
#include <cmath>

#include "memory_lookup/common.h"
#include "memory_lookup/f32_kernels.h"

namespace spartan {
namespace {

// How one thread's positions are cut and where everything lies in its scratch.
struct Plan {
  std::size_t hidden, parents, cells, top_k, children;
  std::size_t blocks;         // packed blocks when all logits are packed: an upper bound for every form
  std::size_t logit_stride;   // floats of logits a position
  std::size_t weight_stride;  // floats of weights a position: K parents, then K * C children
  std::size_t tile;           // positions handled together

  float* logits;
  float* weights;
  std::size_t* offsets;
  std::uint32_t* chosen;
  std::int32_t* order;
  float* sums;
  const float** rows;
  std::uint32_t* members;  // pairs (position, slot), sorted by parent
  std::uint32_t* starts;   // [E + 1] where a parent's pairs begin
  float* group;            // [tile, kGroupRows]
  std::size_t bytes;
};

constexpr std::size_t kGroupRows = 64;       // keys of one parent that are multiplied at a time
constexpr std::size_t kTileBytes = 192 << 10;  // what a tile's logits, weights and offsets may take: a part of L2
constexpr std::size_t kMaxTile = 64;

Plan make_plan(const MemoryShape& shape, void* scratch) {
  Plan plan;
  plan.hidden = static_cast<std::size_t>(shape.hidden);
  plan.parents = static_cast<std::size_t>(shape.parents);
  plan.cells = static_cast<std::size_t>(shape.cells);
  plan.top_k = static_cast<std::size_t>(shape.top_k);
  plan.children = plan.cells / plan.parents;
  plan.blocks = (plan.parents + plan.cells + kBlockColumns - 1) / kBlockColumns;
  plan.logit_stride = plan.blocks * kBlockColumns;
  const std::size_t chosen_cells = plan.top_k * plan.children;
  plan.weight_stride = plan.top_k + chosen_cells;
  const std::size_t bytes_a_position =
      sizeof(float) * (plan.logit_stride + plan.weight_stride) + sizeof(std::size_t) * chosen_cells;
  plan.tile = std::clamp<std::size_t>(kTileBytes / bytes_a_position, 1, kMaxTile);

  ScratchLayout layout(scratch);
  plan.logits = layout.take<float>(plan.tile * plan.logit_stride);
  plan.weights = layout.take<float>(plan.tile * plan.weight_stride);
  plan.offsets = layout.take<std::size_t>(plan.tile * chosen_cells);
  plan.chosen = layout.take<std::uint32_t>(plan.tile * plan.top_k);
  plan.order = layout.take<std::int32_t>((plan.parents + 15) / 16 * 16);
  plan.sums = layout.take<float>(plan.parents);
  plan.rows = layout.take<const float*>(plan.tile);
  plan.members = layout.take<std::uint32_t>(plan.tile * plan.top_k);
  plan.starts = layout.take<std::uint32_t>(plan.parents + 1);
  plan.group = layout.take<float>(plan.tile * kGroupRows);
  plan.bytes = layout.bytes();
  return plan;
}

// Child logits of the chosen parents into weights[p][K + slot * C + c]; positions are grouped by parent, so that a
// key is loaded once for several positions that chose it.
void grouped_child_logits(const Plan& plan, const F32Kernels& kernels, const float* x, std::size_t positions,
                          const float* keys, float scale) {
  const std::size_t pairs = positions * plan.top_k;
  std::fill(plan.starts, plan.starts + plan.parents + 1, 0u);
  for (std::size_t i = 0; i < pairs; ++i) ++plan.starts[plan.chosen[i] + 1];
  for (std::size_t e = 0; e < plan.parents; ++e) plan.starts[e + 1] += plan.starts[e];
  for (std::size_t i = 0; i < pairs; ++i) plan.members[plan.starts[plan.chosen[i]]++] = static_cast<std::uint32_t>(i);
  // starts[e] now is the end of parent e's pairs, which is the start of parent e + 1's.
  std::size_t first = 0;
  for (std::size_t e = 0; e < plan.parents; ++e) {
    const std::size_t count = plan.starts[e] - first;
    if (count == 0) continue;
    const std::uint32_t* members = plan.members + first;
    first += count;
    // A parent occurs at most once a position: count <= positions <= tile.
    for (std::size_t i = 0; i < count; ++i) plan.rows[i] = x + members[i] / plan.top_k * plan.hidden;
    for (std::size_t c = 0; c < plan.children; c += kGroupRows) {
      const std::size_t rows = std::min(kGroupRows, plan.children - c);
      kernels.dots(plan.rows, count, keys + (e * plan.children + c) * plan.hidden, rows, plan.hidden, plan.group, rows);
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t position = members[i] / plan.top_k;
        const std::size_t slot = members[i] % plan.top_k;
        float* target = plan.weights + position * plan.weight_stride + plan.top_k + slot * plan.children + c;
        for (std::size_t r = 0; r < rows; ++r) target[r] = plan.group[i * rows + r] * scale;
      }
    }
  }
}

// What differs between the forms: where parent logits and child logits come from.
struct Sources {
  const float* parents = nullptr;        // row-major [E, H], or
  const float* logit_weights = nullptr;  // packed
  const float* keys = nullptr;           // row-major [M, H]; null: packed behind the parents, and values packed too
  float key_scale = 1.0f;
  const float* values = nullptr;         // row-major, or packed
};

// Weights of the chosen cells from all logits, which are consumed.
void dense_weights(const Plan& plan, const F32Kernels& kernels, std::size_t positions, std::size_t stride) {
  for (std::size_t p = 0; p < positions; ++p) {
    kernels.shift_logits(plan.logits + p * stride, plan.parents, plan.children);
  }
  kernels.exp_nonpositive(plan.logits, positions * stride);
  for (std::size_t p = 0; p < positions; ++p) {
    kernels.weights_of_chosen(plan.logits + p * stride, plan.parents, plan.children, plan.chosen + p * plan.top_k,
                              plan.top_k, plan.weights + p * plan.weight_stride + plan.top_k, plan.sums);
  }
}

// The same from the parents' logits and the chosen children's, which stand where their weights are to be.
void sparse_weights(const Plan& plan, const F32Kernels& kernels, std::size_t positions, std::size_t stride) {
  for (std::size_t p = 0; p < positions; ++p) {
    const float* logits = plan.logits + p * stride;
    const std::uint32_t* chosen = plan.chosen + p * plan.top_k;
    float* weights = plan.weights + p * plan.weight_stride;
    float largest = logits[chosen[0]];
    for (std::size_t k = 0; k < plan.top_k; ++k) {
      weights[k] = logits[chosen[k]];
      largest = weights[k] > largest ? weights[k] : largest;
    }
    for (std::size_t k = 0; k < plan.top_k; ++k) weights[k] -= largest;
    for (std::size_t k = 0; k < plan.top_k; ++k) {
      float* child = weights + plan.top_k + k * plan.children;
      float top = child[0];
      for (std::size_t c = 1; c < plan.children; ++c) top = child[c] > top ? child[c] : top;
      for (std::size_t c = 0; c < plan.children; ++c) child[c] -= top;
    }
  }
  kernels.exp_nonpositive(plan.weights, positions * plan.weight_stride);
  for (std::size_t p = 0; p < positions; ++p) {
    float* weights = plan.weights + p * plan.weight_stride;
    float total = 0;
    for (std::size_t k = 0; k < plan.top_k; ++k) total += weights[k];
    for (std::size_t k = 0; k < plan.top_k; ++k) {
      float* child = weights + plan.top_k + k * plan.children;
      float sum = 0;
      for (std::size_t c = 0; c < plan.children; ++c) sum += child[c];
      const float scale = weights[k] / (total * sum);
      for (std::size_t c = 0; c < plan.children; ++c) child[c] *= scale;
    }
  }
}

void lookup(const Plan& plan, const F32Kernels& kernels, const Sources& from, const Epilogue& epilogue, const float* x,
            std::size_t begin, std::size_t end, float* out) {
  const std::size_t chosen_cells = plan.top_k * plan.children;
  const bool all_packed = from.keys == nullptr;
  const std::size_t logit_count = all_packed ? plan.parents + plan.cells : plan.parents;
  const std::size_t blocks = (logit_count + kBlockColumns - 1) / kBlockColumns;
  const std::size_t stride = from.logit_weights != nullptr ? blocks * kBlockColumns : plan.parents;
  const std::size_t row_length = all_packed ? kValueColumns : plan.hidden;  // elements from one cell's values to the next
  for (std::size_t start = begin; start < end; start += plan.tile) {
    const std::size_t positions = std::min(plan.tile, end - start);
    const float* rows = x + start * plan.hidden;
    if (from.logit_weights != nullptr) {
      kernels.logits(rows, positions, plan.hidden, from.logit_weights, blocks, plan.logits, stride);
    } else {
      for (std::size_t p = 0; p < positions; ++p) plan.rows[p] = rows + p * plan.hidden;
      kernels.dots(plan.rows, positions, from.parents, plan.parents, plan.hidden, plan.logits, stride);
    }
    for (std::size_t p = 0; p < positions; ++p) {
      std::uint32_t* chosen = plan.chosen + p * plan.top_k;
      kernels.select_largest(plan.logits + p * stride, plan.parents, plan.top_k, chosen, plan.order);
      std::size_t* offsets = plan.offsets + p * chosen_cells;
      for (std::size_t k = 0; k < plan.top_k; ++k) {
        std::size_t offset = chosen[k] * plan.children * row_length;
        for (std::size_t c = 0; c < plan.children; ++c, offset += row_length) *offsets++ = offset;
      }
    }
    if (all_packed) {
      dense_weights(plan, kernels, positions, stride);
    } else {
      grouped_child_logits(plan, kernels, rows, positions, from.keys, from.key_scale);
      sparse_weights(plan, kernels, positions, stride);
    }
    const float* addend = epilogue.residual ? rows : nullptr;
    float* target = out + start * plan.hidden;
    const float* weights = plan.weights + plan.top_k;
    if (all_packed) {
      kernels.weighted_blocks(from.values, plan.cells * kValueColumns, plan.offsets, weights, plan.weight_stride,
                              chosen_cells, addend, positions, plan.hidden, target);
    } else {
      kernels.weighted_rows(from.values, plan.offsets, weights, plan.weight_stride, chosen_cells, addend, positions,
                            plan.hidden, target);
    }
    if (epilogue.norm_weight == nullptr) continue;
    for (std::size_t p = 0; p < positions; ++p) {
      kernels.normalize(target + p * plan.hidden, plan.hidden, epilogue.norm_weight, epilogue.norm_bias,
                        epilogue.norm_eps);
    }
  }
}

Status run(const MemoryShape& shape, const Sources& from, const Epilogue& epilogue, const float* x, std::int64_t begin,
           std::int64_t end, float* out, void* scratch, std::size_t scratch_size, Isa isa) {
  if (const Status status = check_call(shape, epilogue, x, begin, end, out); status != Status::kOk) return status;
  if (begin == end) return Status::kOk;
  if (from.values == nullptr || (from.parents == nullptr && from.logit_weights == nullptr)) return Status::kNullPointer;
  const F32Kernels* kernels = f32_kernels(isa);
  if (kernels == nullptr) return Status::kNoSuchKernel;
  const Plan plan = make_plan(shape, scratch);
  if (scratch == nullptr) return Status::kNullPointer;
  if (scratch_size < plan.bytes) return Status::kScratchTooSmall;
  lookup(plan, *kernels, from, epilogue, x, static_cast<std::size_t>(begin), static_cast<std::size_t>(end), out);
  return Status::kOk;
}

}  // namespace

const F32Kernels* f32_kernels(Isa isa) {
  const std::uint32_t features = cpu_features();
  const F32Kernels* best = nullptr;
#define SPARTAN_F32(enumerator, suffix, needed)                                        \
  if ((features & (needed)) == (needed) && (isa == Isa::kBest || isa == Isa::enumerator)) \
    best = &kMemoryLookupF32_##suffix;
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32
  return best;
}

Isa best_isa_f32() {
  const std::uint32_t features = cpu_features();
  Isa best = Isa::kPortable;
#define SPARTAN_F32(enumerator, suffix, needed) \
  if ((features & (needed)) == (needed)) best = Isa::enumerator;
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32
  return best;
}

std::size_t scratch_bytes(const MemoryShape& shape) {
  return check(shape) == Status::kOk ? make_plan(shape, nullptr).bytes : 0;
}

Status memory_lookup_rows_f32(const MemoryShape& shape, const RowsF32& memory, const Epilogue& epilogue, const float* x,
                              std::int64_t begin, std::int64_t end, float* out, void* scratch,
                              std::size_t scratch_size, Isa isa) {
  if (!(memory.temperature > 0) || !std::isfinite(memory.temperature)) return Status::kBadTemperature;
  if (memory.keys == nullptr && begin != end) return Status::kNullPointer;
  Sources from;
  from.parents = memory.parents;
  from.keys = memory.keys;
  from.key_scale = 1.0f / memory.temperature;
  from.values = memory.values;
  return run(shape, from, epilogue, x, begin, end, out, scratch, scratch_size, isa);
}

Status memory_lookup_packed_f32(const MemoryShape& shape, const PackedF32& memory, const Epilogue& epilogue,
                                const float* x, std::int64_t begin, std::int64_t end, float* out, void* scratch,
                                std::size_t scratch_size, Isa isa) {
  Sources from;
  from.logit_weights = memory.logit_weights;
  from.keys = memory.keys;
  from.values = memory.values;
  return run(shape, from, epilogue, x, begin, end, out, scratch, scratch_size, isa);
}

}  // namespace spartan
