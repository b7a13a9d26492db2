// The fp32 entry points: where their logits and values come from.
#include <cmath>

#include "memory_lookup/lookup.h"

namespace spartan {
namespace {

// Parents and keys row-major, or parents packed alone (with keys) or together with the keys (without).
struct F32Cells {
  static constexpr Cells kCells = Cells::kF32;

  const F32Kernels* kernels;
  const float* parents;        // row-major [E, H], or
  const float* logit_weights;  // packed
  const float* keys;           // row-major [M, H], or null: packed with the parents
  const float* values;         // packed where the keys are, else row-major
  float key_scale;
  std::size_t columns;  // of logit_weights in use: E + M, or E
  std::size_t parent_count;

  bool ready() const { return kernels != nullptr; }
  bool has_null() const {
    return values == nullptr || (parents == nullptr ? logit_weights == nullptr : keys == nullptr);
  }
  bool packed() const { return keys == nullptr; }
  std::size_t blocks() const { return round_up(columns, kBlockColumns) / kBlockColumns; }
  std::size_t stride() const { return logit_weights != nullptr ? blocks() * kBlockColumns : parent_count; }
  std::size_t first_child() const { return parent_count; }

  void logits(const Plan& plan, const float* rows, std::size_t positions) const {
    if (logit_weights != nullptr) {
      kernels->logits(rows, positions, plan.hidden, logit_weights, blocks(), plan.logits, stride());
      return;
    }
    for (std::size_t p = 0; p < positions; ++p) plan.rows[p] = rows + p * plan.hidden;
    kernels->dots(plan.rows, positions, parents, plan.parents, plan.hidden, plan.logits, stride());
  }

  void dots(const Plan& plan, const float* rows, const std::uint32_t* picked, std::size_t count, std::size_t first,
            std::size_t key_count, float* out) const {
    for (std::size_t i = 0; i < count; ++i) plan.rows[i] = rows + picked[i] * plan.hidden;
    kernels->dots(plan.rows, count, keys + first * plan.hidden, key_count, plan.hidden, out, key_count);
    for (std::size_t i = 0; i < count * key_count; ++i) out[i] *= key_scale;
  }

  void weights(const Plan& plan, const F32Kernels& f32, std::size_t positions) const {
    float_weights(plan, f32, *this, positions);
  }

  void weighted(const Plan& plan, const float*, std::size_t positions, const float* addend, float* out) const {
    const std::size_t row_length = packed() ? kValueColumns : plan.hidden;  // from one cell's values to the next
    std::size_t* offsets = plan.offsets;
    for (std::size_t i = 0; i < positions * plan.top_k; ++i) {
      std::size_t offset = plan.chosen[i] * plan.children * row_length;
      for (std::size_t c = 0; c < plan.children; ++c, offset += row_length) *offsets++ = offset;
    }
    const std::size_t chosen_cells = plan.top_k * plan.children;
    const float* weights = plan.weights + plan.top_k;
    if (packed()) {
      kernels->weighted_blocks(values, plan.cells * kValueColumns, plan.offsets, weights, plan.weight_stride,
                               chosen_cells, addend, positions, plan.hidden, out);
    } else {
      kernels->weighted_rows(values, plan.offsets, weights, plan.weight_stride, chosen_cells, addend, positions,
                             plan.hidden, out);
    }
  }
};

}  // namespace

Status memory_lookup_rows_f32(const MemoryShape& shape, const RowsF32& memory, const Epilogue& epilogue, const float* x,
                              std::int64_t begin, std::int64_t end, float* out, void* scratch,
                              std::size_t scratch_size, Isa isa) {
  if (!(memory.temperature > 0) || !std::isfinite(memory.temperature)) return Status::kBadTemperature;
  if (begin != end && (memory.parents == nullptr || memory.keys == nullptr)) return Status::kNullPointer;
  const F32Kernels* kernels = f32_kernels(isa);
  const std::size_t parents = static_cast<std::size_t>(shape.parents);
  F32Cells cells{kernels, memory.parents, nullptr, memory.keys, memory.values, 1.0f / memory.temperature, 0, parents};
  return run(shape, cells, kernels, epilogue, x, begin, end, out, scratch, scratch_size);
}

Status memory_lookup_packed_f32(const MemoryShape& shape, const PackedF32& memory, const Epilogue& epilogue,
                                const float* x, std::int64_t begin, std::int64_t end, float* out, void* scratch,
                                std::size_t scratch_size, Isa isa) {
  const F32Kernels* kernels = f32_kernels(isa);
  const std::size_t parents = static_cast<std::size_t>(shape.parents);
  const std::size_t columns = memory.keys != nullptr ? parents : parents + static_cast<std::size_t>(shape.cells);
  F32Cells cells{kernels, nullptr, memory.logit_weights, memory.keys, memory.values, 1.0f, columns, parents};
  return run(shape, cells, kernels, epilogue, x, begin, end, out, scratch, scratch_size);
}

}  // namespace spartan
