#include "memory_lookup/plan.h"

#include <algorithm>

#include "memory_lookup/common.h"

namespace spartan {
namespace {

constexpr std::size_t kTileBytes = 192 << 10;  // what a tile may take beside x and out: a part of L2
constexpr std::size_t kMaxTile = 64;

}  // namespace

Plan make_plan(const MemoryShape& shape, Cells cells, void* scratch) {
  Plan plan{};
  plan.hidden = static_cast<std::size_t>(shape.hidden);
  plan.parents = static_cast<std::size_t>(shape.parents);
  plan.cells = static_cast<std::size_t>(shape.cells);
  plan.top_k = static_cast<std::size_t>(shape.top_k);
  plan.children = plan.cells / plan.parents;
  // Parents and keys packed apart may need one block more than packed together: room for both.
  plan.logit_stride = round_up(plan.parents, kBlockColumns) + round_up(plan.cells, kBlockColumns);
  const std::size_t chosen_cells = plan.top_k * plan.children;
  plan.weight_stride = plan.top_k + chosen_cells;
  std::size_t bytes_a_position = sizeof(float) * (plan.logit_stride + plan.weight_stride);
  if (cells == Cells::kF32) {
    bytes_a_position += sizeof(std::size_t) * chosen_cells;
  } else {
    plan.groups = cells == Cells::kInt4 ? std::max<std::size_t>(1, plan.hidden / kInt4Group) : 1;
    plan.row_stride = round_up(plan.hidden, kRowBytes);
    // C cells in a row touch at most (C + 2) / 4 + 1 quads.
    plan.quad_stride = std::min(plan.top_k * ((plan.children + 2) / kQuad + 1), round_up(plan.cells, kQuad) / kQuad);
    bytes_a_position += plan.row_stride + kQuad * plan.quad_stride * (1 + plan.groups);
  }
  plan.tile = std::clamp<std::size_t>(kTileBytes / bytes_a_position, 1, kMaxTile);

  ScratchLayout layout(scratch);
  plan.logits = layout.take<float>(plan.tile * plan.logit_stride);
  plan.weights = layout.take<float>(plan.tile * plan.weight_stride);
  plan.chosen = layout.take<std::uint32_t>(plan.tile * plan.top_k);
  plan.order = layout.take<std::int32_t>(round_up(plan.parents, 16));
  plan.sums = layout.take<float>(plan.parents);
  plan.members = layout.take<std::uint32_t>(plan.tile * plan.top_k);
  plan.picked = layout.take<std::uint32_t>(plan.tile);
  plan.starts = layout.take<std::uint32_t>(plan.parents + 1);
  plan.group = layout.take<float>(plan.tile * kGroupRows);
  if (cells == Cells::kF32) {
    plan.offsets = layout.take<std::size_t>(plan.tile * chosen_cells);
    plan.rows = layout.take<const float*>(plan.tile);
  } else {
    plan.x_cells = layout.take<std::int8_t>(plan.tile * plan.row_stride);
    plan.x_scales = layout.take<float>(plan.tile);
    plan.x_sums = layout.take<std::int32_t>(plan.tile * plan.groups);
    plan.quads = layout.take<std::uint32_t>(plan.tile * plan.quad_stride);
    plan.quad_counts = layout.take<std::uint32_t>(plan.tile);
    plan.quad_weights = layout.take<float>(kQuad * plan.quad_stride);
    plan.scaled_weights = layout.take<float>(kQuad * plan.quad_stride * kWeightGroups);
    plan.weight_cells = layout.take<std::int8_t>(plan.tile * plan.groups * kQuad * plan.quad_stride);
    plan.weight_scales = layout.take<float>(plan.tile * plan.groups);
    plan.weight_sums = layout.take<std::int32_t>(plan.tile * plan.groups);
  }
  plan.bytes = layout.bytes();
  return plan;
}

}  // namespace spartan
