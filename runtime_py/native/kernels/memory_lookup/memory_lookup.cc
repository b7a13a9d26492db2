// The memory lookup: checks, tiling, grouping; the loops over H and over logits are in the kernel sets.
#include <algorithm>
#include <cmath>

#include "memory_lookup/common.h"
#include "memory_lookup/f32_kernels.h"

namespace spartan {
namespace {

// How one thread's positions are cut and where everything lies in its scratch.
struct Plan {
  std::size_t hidden, parents, cells, top_k, children;
  std::size_t logit_stride;   // floats of logits a position, at most
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
  float* key_blocks;       // quantised and packed: all keys as float
  float* value_blocks;     // quantised and packed: all values as float
  float* expanded;         // quantised rows: kGroupRows cells as float
  std::size_t bytes;
};

constexpr std::size_t kGroupRows = 64;       // keys of one parent that are multiplied at a time
constexpr std::size_t kTileBytes = 192 << 10;  // what a tile's logits, weights and offsets may take: a part of L2
constexpr std::size_t kMaxTile = 64;

constexpr std::size_t round_up(std::size_t count, std::size_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

Plan make_plan(const MemoryShape& shape, Cells cells, void* scratch) {
  Plan plan;
  plan.hidden = static_cast<std::size_t>(shape.hidden);
  plan.parents = static_cast<std::size_t>(shape.parents);
  plan.cells = static_cast<std::size_t>(shape.cells);
  plan.top_k = static_cast<std::size_t>(shape.top_k);
  plan.children = plan.cells / plan.parents;
  // Parents and keys packed apart may need one block more than packed together: room for both.
  plan.logit_stride = round_up(plan.parents, kBlockColumns) + round_up(plan.cells, kBlockColumns);
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
  plan.order = layout.take<std::int32_t>(round_up(plan.parents, 16));
  plan.sums = layout.take<float>(plan.parents);
  plan.rows = layout.take<const float*>(plan.tile);
  plan.members = layout.take<std::uint32_t>(plan.tile * plan.top_k);
  plan.starts = layout.take<std::uint32_t>(plan.parents + 1);
  plan.group = layout.take<float>(plan.tile * kGroupRows);
  plan.key_blocks = plan.value_blocks = plan.expanded = nullptr;
  if (cells == Cells::kQuantizedPacked) {
    plan.key_blocks = layout.take<float>(round_up(plan.cells, kBlockColumns) * plan.hidden);
    plan.value_blocks = layout.take<float>(round_up(plan.hidden, kValueColumns) * plan.cells);
  } else if (cells == Cells::kQuantizedRows) {
    plan.expanded = layout.take<float>(kGroupRows * plan.hidden);
  }
  plan.bytes = layout.bytes();
  return plan;
}

// What differs between the forms: where parent logits, child logits and values come from.
struct Sources {
  const float* parents = nullptr;        // row-major [E, H], or
  const float* logit_weights = nullptr;  // packed
  std::size_t packed_columns = 0;        // columns of logit_weights in use: E + M, or E
  const float* key_blocks = nullptr;     // packed keys apart from the parents, or
  const float* keys = nullptr;           // row-major [M, H]
  float key_scale = 1.0f;
  const float* values = nullptr;         // row-major, or packed
  const Int8Memory* int8_rows = nullptr;
  const Int4Memory* int4_rows = nullptr;

  // All child logits come from blocked products, and values are packed.
  bool all_packed() const { return key_blocks != nullptr || (keys == nullptr && !quantized_rows()); }
  bool quantized_rows() const { return int8_rows != nullptr || int4_rows != nullptr; }
};

// Cells [first, first + count) of a quantised row-major memory as float.
void expand_keys(const Plan& plan, const F32Kernels& kernels, const Sources& from, std::size_t first, std::size_t count) {
  for (std::size_t m = first; m < first + count; ++m) {
    float* row = plan.expanded + (m - first) * plan.hidden;
    if (from.int8_rows != nullptr) {
      kernels.expand_int8_row(from.int8_rows->key_cells + m * plan.hidden, from.int8_rows->key_scales[m], plan.hidden, row);
    } else {
      kernels.expand_int4_row(from.int4_rows->key_cells + m * plan.hidden / 2,
                              from.int4_rows->key_scales + m * plan.hidden / kInt4Group, plan.hidden, row);
    }
  }
}

void expand_value(const Plan& plan, const F32Kernels& kernels, const Sources& from, std::size_t m, float* row) {
  if (from.int8_rows != nullptr) {
    kernels.expand_int8_row(from.int8_rows->value_cells + m * plan.hidden, from.int8_rows->value_scales[m], plan.hidden,
                            row);
  } else {
    kernels.expand_int4_row(from.int4_rows->value_cells + m * plan.hidden / 2,
                            from.int4_rows->value_scales + m * plan.hidden / kInt4Group, plan.hidden, row);
  }
}

// Child logits of the chosen parents into weights[p][K + slot * C + c]; positions are grouped by parent, so that a
// key is loaded once for several positions that chose it.
void grouped_child_logits(const Plan& plan, const F32Kernels& kernels, const float* x, std::size_t positions,
                          const Sources& from) {
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
      const std::size_t cell = e * plan.children + c;
      if (from.quantized_rows()) expand_keys(plan, kernels, from, cell, rows);
      const float* keys = from.quantized_rows() ? plan.expanded : from.keys + cell * plan.hidden;
      kernels.dots(plan.rows, count, keys, rows, plan.hidden, plan.group, rows);
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t position = members[i] / plan.top_k;
        const std::size_t slot = members[i] % plan.top_k;
        float* target = plan.weights + position * plan.weight_stride + plan.top_k + slot * plan.children + c;
        for (std::size_t r = 0; r < rows; ++r) target[r] = plan.group[i * rows + r] * from.key_scale;
      }
    }
  }
}

// The weighted sum from quantised rows: the chosen cells become float a few at a time.
void weighted_quantized_rows(const Plan& plan, const F32Kernels& kernels, const Sources& from, const Epilogue& epilogue,
                             const float* x, std::size_t positions, float* out) {
  const std::size_t chosen_cells = plan.top_k * plan.children;
  std::size_t steps[kGroupRows];
  for (std::size_t i = 0; i < kGroupRows; ++i) steps[i] = i * plan.hidden;
  for (std::size_t p = 0; p < positions; ++p, x += plan.hidden, out += plan.hidden) {
    const float* weights = plan.weights + p * plan.weight_stride + plan.top_k;
    const std::size_t* offsets = plan.offsets + p * chosen_cells;
    for (std::size_t first = 0; first < chosen_cells; first += kGroupRows) {
      const std::size_t count = std::min(kGroupRows, chosen_cells - first);
      for (std::size_t i = 0; i < count; ++i) {
        expand_value(plan, kernels, from, offsets[first + i] / plan.hidden, plan.expanded + i * plan.hidden);
      }
      const float* addend = first > 0 ? out : epilogue.residual ? x : nullptr;
      kernels.weighted_rows(plan.expanded, steps, weights + first, 0, count, addend, 1, plan.hidden, out);
    }
  }
}

// Weights of the chosen cells from all logits, which are consumed.
void dense_weights(const Plan& plan, const F32Kernels& kernels, std::size_t positions, std::size_t stride,
                   std::size_t first_child) {
  for (std::size_t p = 0; p < positions; ++p) {
    float* logits = plan.logits + p * stride;
    kernels.shift_logits(logits, logits + first_child, plan.parents, plan.children);
  }
  kernels.exp_nonpositive(plan.logits, positions * stride);
  for (std::size_t p = 0; p < positions; ++p) {
    const float* logits = plan.logits + p * stride;
    kernels.weights_of_chosen(logits, logits + first_child, plan.parents, plan.children,
                              plan.chosen + p * plan.top_k, plan.top_k, plan.weights + p * plan.weight_stride + plan.top_k, plan.sums);
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
  const bool all_packed = from.all_packed();
  const std::size_t blocks = round_up(from.packed_columns, kBlockColumns) / kBlockColumns;
  const std::size_t key_blocks = from.key_blocks != nullptr ? round_up(plan.cells, kBlockColumns) / kBlockColumns : 0;
  const std::size_t first_child = from.key_blocks != nullptr ? blocks * kBlockColumns : plan.parents;
  const std::size_t stride = from.logit_weights != nullptr ? (blocks + key_blocks) * kBlockColumns : plan.parents;
  const std::size_t row_length = all_packed ? kValueColumns : plan.hidden;  // elements from one cell's values to the next
  for (std::size_t start = begin; start < end; start += plan.tile) {
    const std::size_t positions = std::min(plan.tile, end - start);
    const float* rows = x + start * plan.hidden;
    if (from.logit_weights != nullptr) {
      kernels.logits(rows, positions, plan.hidden, from.logit_weights, blocks, plan.logits, stride);
      if (key_blocks > 0) {
        kernels.logits(rows, positions, plan.hidden, from.key_blocks, key_blocks, plan.logits + first_child, stride);
      }
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
      dense_weights(plan, kernels, positions, stride, first_child);
    } else {
      grouped_child_logits(plan, kernels, rows, positions, from);
      sparse_weights(plan, kernels, positions, stride);
    }
    const float* addend = epilogue.residual ? rows : nullptr;
    float* target = out + start * plan.hidden;
    const float* weights = plan.weights + plan.top_k;
    if (all_packed) {
      kernels.weighted_blocks(from.values, plan.cells * kValueColumns, plan.offsets, weights, plan.weight_stride,
                              chosen_cells, addend, positions, plan.hidden, target);
    } else if (from.quantized_rows()) {
      weighted_quantized_rows(plan, kernels, from, epilogue, rows, positions, target);
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

// Checks a call, lays out its scratch, lets `prepare(plan, kernels)` name the sources, and does the work.
template <typename Prepare>
Status run(const MemoryShape& shape, Cells cells, const Epilogue& epilogue, const float* x, std::int64_t begin,
           std::int64_t end, float* out, void* scratch, std::size_t scratch_size, Isa isa, const Prepare& prepare) {
  if (const Status status = check_call(shape, epilogue, x, begin, end, out); status != Status::kOk) return status;
  if (begin == end) return Status::kOk;
  const F32Kernels* kernels = f32_kernels(isa);
  if (kernels == nullptr) return Status::kNoSuchKernel;
  const Plan plan = make_plan(shape, cells, scratch);
  if (scratch == nullptr) return Status::kNullPointer;
  if (scratch_size < plan.bytes) return Status::kScratchTooSmall;
  lookup(plan, *kernels, prepare(plan, *kernels), epilogue, x, static_cast<std::size_t>(begin),
         static_cast<std::size_t>(end), out);
  return Status::kOk;
}

template <typename Memory>
bool has_null(const Memory& memory) {
  return memory.logit_weights == nullptr || memory.key_cells == nullptr || memory.key_scales == nullptr ||
         memory.value_cells == nullptr || memory.value_scales == nullptr;
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

std::size_t scratch_bytes(const MemoryShape& shape, Cells cells) {
  return check(shape) == Status::kOk ? make_plan(shape, cells, nullptr).bytes : 0;
}

Status memory_lookup_rows_f32(const MemoryShape& shape, const RowsF32& memory, const Epilogue& epilogue, const float* x,
                              std::int64_t begin, std::int64_t end, float* out, void* scratch,
                              std::size_t scratch_size, Isa isa) {
  if (!(memory.temperature > 0) || !std::isfinite(memory.temperature)) return Status::kBadTemperature;
  if (begin != end && (memory.parents == nullptr || memory.keys == nullptr || memory.values == nullptr)) {
    return Status::kNullPointer;
  }
  return run(shape, Cells::kF32, epilogue, x, begin, end, out, scratch, scratch_size, isa,
             [&](const Plan&, const F32Kernels&) {
               Sources from;
               from.parents = memory.parents;
               from.keys = memory.keys;
               from.key_scale = 1.0f / memory.temperature;
               from.values = memory.values;
               return from;
             });
}

Status memory_lookup_packed_f32(const MemoryShape& shape, const PackedF32& memory, const Epilogue& epilogue,
                                const float* x, std::int64_t begin, std::int64_t end, float* out, void* scratch,
                                std::size_t scratch_size, Isa isa) {
  if (begin != end && (memory.logit_weights == nullptr || memory.values == nullptr)) return Status::kNullPointer;
  return run(shape, Cells::kF32, epilogue, x, begin, end, out, scratch, scratch_size, isa,
             [&](const Plan& plan, const F32Kernels&) {
               Sources from;
               from.logit_weights = memory.logit_weights;
               from.packed_columns = memory.keys != nullptr ? plan.parents : plan.parents + plan.cells;
               from.keys = memory.keys;
               from.values = memory.values;
               return from;
             });
}

Status memory_lookup_int8(const MemoryShape& shape, const Int8Memory& memory, const Epilogue& epilogue, const float* x,
                          std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t scratch_size,
                          Isa isa) {
  if (begin != end && has_null(memory)) return Status::kNullPointer;
  const Cells cells = memory.rows ? Cells::kQuantizedRows : Cells::kQuantizedPacked;
  return run(shape, cells, epilogue, x, begin, end, out, scratch, scratch_size, isa,
             [&](const Plan& plan, const F32Kernels& kernels) {
               Sources from;
               from.logit_weights = memory.logit_weights;
               from.packed_columns = plan.parents;
               if (memory.rows) {
                 from.int8_rows = &memory;
                 return from;
               }
               const std::size_t block = round_up(plan.hidden, 4) * kBlockColumns;
               for (std::size_t n = 0; n < plan.cells; n += kBlockColumns) {
                 kernels.expand_int8_columns(memory.key_cells + n / kBlockColumns * block, memory.key_scales + n,
                                             plan.hidden, plan.key_blocks + n * plan.hidden);
               }
               for (std::size_t h = 0; h < plan.hidden; h += kValueColumns) {
                 for (std::size_t m = 0; m < plan.cells; ++m) {
                   const std::size_t at = h * plan.cells + m * kValueColumns;
                   kernels.expand_int8_row(memory.value_cells + at, memory.value_scales[m], kValueColumns,
                                           plan.value_blocks + at);
                 }
               }
               from.key_blocks = plan.key_blocks;
               from.values = plan.value_blocks;
               return from;
             });
}

Status memory_lookup_int4(const MemoryShape& shape, const Int4Memory& memory, const Epilogue& epilogue, const float* x,
                          std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t scratch_size,
                          Isa isa) {
  if (shape.hidden % kInt4Group != 0) return Status::kBadGroups;
  if (begin != end && has_null(memory)) return Status::kNullPointer;
  const Cells cells = memory.rows ? Cells::kQuantizedRows : Cells::kQuantizedPacked;
  return run(shape, cells, epilogue, x, begin, end, out, scratch, scratch_size, isa,
             [&](const Plan& plan, const F32Kernels& kernels) {
               Sources from;
               from.logit_weights = memory.logit_weights;
               from.packed_columns = plan.parents;
               if (memory.rows) {
                 from.int4_rows = &memory;
                 return from;
               }
               const std::size_t groups = plan.hidden / kInt4Group;
               for (std::size_t n = 0; n < plan.cells; n += kBlockColumns) {
                 kernels.expand_int4_columns(memory.key_cells + n * plan.hidden / 2, memory.key_scales + n * groups,
                                             plan.hidden, plan.key_blocks + n * plan.hidden);
               }
               for (std::size_t m = 0; m < plan.cells; ++m) {
                 for (std::size_t h = 0; h < plan.hidden; h += kValueColumns) {
                   const std::size_t width = std::min<std::size_t>(kValueColumns, plan.hidden - h);
                   float* target = plan.value_blocks + h * plan.cells + m * kValueColumns;
                   kernels.expand_int4_row(memory.value_cells + (m * plan.hidden + h) / 2,
                                           memory.value_scales + m * groups + h / kInt4Group, width, target);
                   std::fill(target + width, target + kValueColumns, 0.0f);
                 }
               }
               from.key_blocks = plan.key_blocks;
               from.values = plan.value_blocks;
               return from;
             });
}

}  // namespace spartan
