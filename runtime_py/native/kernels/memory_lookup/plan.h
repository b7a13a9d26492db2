// How one thread's positions are cut into tiles, and where everything lies in its scratch. Internal.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spartan/memory_lookup.h"

namespace spartan {

constexpr std::size_t kGroupRows = 64;  // keys of one parent that are multiplied at a time
constexpr std::size_t kQuad = 4;        // integers that one step of an integer product takes
constexpr std::size_t kRowBytes = 64;   // quantised rows are filled up with zeros to a multiple of this
constexpr std::size_t kWeightGroups = 8;  // groups of which weights are quantised at a time

constexpr std::size_t round_up(std::size_t count, std::size_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

struct Plan {
  std::size_t hidden, parents, cells, top_k, children;
  std::size_t logit_stride;   // floats of logits a position, at most
  std::size_t weight_stride;  // floats of weights a position: K parents, then K * C children
  std::size_t tile;           // positions handled together

  float* logits;
  float* weights;
  std::uint32_t* chosen;
  std::int32_t* order;
  float* sums;
  std::uint32_t* members;  // pairs (position, slot), sorted by parent
  std::uint32_t* picked;   // [tile] positions of one parent's pairs
  std::uint32_t* starts;   // [E + 1] where a parent's pairs begin
  float* group;            // [tile, kGroupRows]

  // Cells in fp32.
  std::size_t* offsets;  // of the chosen cells' values
  const float** rows;

  // Quantised cells, in `groups` groups of H that have a scale of their own.
  std::size_t groups;
  std::size_t row_stride;       // bytes of a quantised row of x
  std::size_t quad_stride;      // quads of cells a position, at most
  std::int8_t* x_cells;         // [tile, row_stride]
  float* x_scales;              // [tile]
  std::int32_t* x_sums;         // [tile, groups]
  std::uint32_t* quads;         // [tile, quad_stride] quads that hold a chosen cell
  std::uint32_t* quad_counts;   // [tile]
  float* quad_weights;          // [quad_stride * 4] of one position
  float* scaled_weights;        // [quad_stride * 4, kWeightGroups] of one position
  std::int8_t* weight_cells;    // [tile, quad_stride, groups, 4]
  float* weight_scales;         // [tile, groups]
  std::int32_t* weight_sums;    // [tile, groups]

  std::size_t bytes;
};

// With scratch null only the sizes are worked out.
Plan make_plan(const MemoryShape& shape, Cells cells, void* scratch);

}  // namespace spartan
