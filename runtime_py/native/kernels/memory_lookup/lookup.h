// The walk through the memory that all kinds of cells share: tiles, selection, softmaxes, grouping by chosen parent.
// Internal. What differs is a `Cells` type, which states where child logits and values come from:
//
//   bool packed()                    all child logits come out of a blocked product, columns c*E + e from first_child() on
//   std::size_t stride()             floats of one position's logits, parents first
//   std::size_t first_child()
//   void logits(plan, rows, positions)                          parents' logits, and where packed() all children's
//   void dots(plan, rows, picked, count, first, keys, out)      child logits of cells [first, first + keys) for the
//                                                               positions picked[i]; out [count, keys]
//   void weights(plan, kernels, positions)                      both softmaxes: what `weighted` multiplies values by
//   void weighted(plan, rows, positions, addend, out)           addend (or 0) + weighted sum of the chosen values
#pragma once

#include <algorithm>

#include "memory_lookup/common.h"
#include "memory_lookup/f32_kernels.h"
#include "memory_lookup/plan.h"

namespace spartan {

// Child logits of the chosen parents into weights[p][K + slot * C + c]; positions are grouped by parent, so that a
// key is loaded once for several positions that chose it.
template <typename CellsType>
void grouped_child_logits(const Plan& plan, CellsType& cells, const float* rows, std::size_t positions) {
  const std::size_t pairs = positions * plan.top_k;
  std::fill(plan.starts, plan.starts + plan.parents + 1, 0u);
  for (std::size_t i = 0; i < pairs; ++i) ++plan.starts[plan.chosen[i] + 1];
  for (std::size_t e = 0; e < plan.parents; ++e) plan.starts[e + 1] += plan.starts[e];
  for (std::size_t i = 0; i < pairs; ++i) plan.members[plan.starts[plan.chosen[i]]++] = static_cast<std::uint32_t>(i);
  // starts[e] now is the end of parent e's pairs, which is the start of parent e + 1's.
  std::size_t first = 0;
  for (std::size_t e = 0; e < plan.parents; ++e) {
    // A parent occurs at most once a position: count <= positions <= tile.
    const std::size_t count = plan.starts[e] - first;
    if (count == 0) continue;
    const std::uint32_t* members = plan.members + first;
    first += count;
    for (std::size_t i = 0; i < count; ++i) plan.picked[i] = members[i] / static_cast<std::uint32_t>(plan.top_k);
    for (std::size_t c = 0; c < plan.children; c += kGroupRows) {
      const std::size_t keys = std::min(kGroupRows, plan.children - c);
      cells.dots(plan, rows, plan.picked, count, e * plan.children + c, keys, plan.group);
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t slot = members[i] % plan.top_k;
        float* target = plan.weights + plan.picked[i] * plan.weight_stride + plan.top_k + slot * plan.children + c;
        std::copy_n(plan.group + i * keys, keys, target);
      }
    }
  }
}

// Weights of the chosen cells from all logits, which are consumed.
void dense_weights(const Plan& plan, const F32Kernels& kernels, std::size_t positions, std::size_t stride,
                   std::size_t first_child);

// The same from the parents' logits and the chosen children's, which stand where their weights are to be.
void sparse_weights(const Plan& plan, const F32Kernels& kernels, std::size_t positions, std::size_t stride);

template <typename CellsType>
void float_weights(const Plan& plan, const F32Kernels& kernels, const CellsType& cells, std::size_t positions) {
  if (cells.packed()) {
    dense_weights(plan, kernels, positions, cells.stride(), cells.first_child());
  } else {
    sparse_weights(plan, kernels, positions, cells.stride());
  }
}

template <typename CellsType>
void lookup(const Plan& plan, const F32Kernels& kernels, CellsType& cells, const Epilogue& epilogue, const float* x,
            std::size_t begin, std::size_t end, float* out) {
  const std::size_t stride = cells.stride();
  for (std::size_t start = begin; start < end; start += plan.tile) {
    const std::size_t positions = std::min(plan.tile, end - start);
    const float* rows = x + start * plan.hidden;
    cells.logits(plan, rows, positions);
    for (std::size_t p = 0; p < positions; ++p) {
      kernels.select_largest(plan.logits + p * stride, plan.parents, plan.top_k, plan.chosen + p * plan.top_k,
                             plan.order);
    }
    if (!cells.packed()) grouped_child_logits(plan, cells, rows, positions);
    cells.weights(plan, kernels, positions);
    float* target = out + start * plan.hidden;
    cells.weighted(plan, rows, positions, epilogue.residual ? rows : nullptr, target);
    if (epilogue.norm_weight == nullptr) continue;
    kernels.add_layer_norm(target, nullptr, positions, plan.hidden, epilogue.norm_weight, epilogue.norm_bias,
                           epilogue.norm_eps, target);
  }
}

// Checks a call, lays out its scratch and does the work. `cells.ready()` is false where its kernels are not here.
template <typename CellsType>
Status run(const MemoryShape& shape, CellsType& cells, const F32Kernels* kernels, const Epilogue& epilogue,
           const float* x, std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t scratch_size) {
  if (const Status status = check_call(shape, epilogue, x, begin, end, out); status != Status::kOk) return status;
  if (begin == end) return Status::kOk;
  if (cells.has_null()) return Status::kNullPointer;
  if (kernels == nullptr || !cells.ready()) return Status::kNoSuchKernel;
  const Plan plan = make_plan(shape, CellsType::kCells, scratch);
  if (scratch == nullptr) return Status::kNullPointer;
  if (scratch_size < plan.bytes) return Status::kScratchTooSmall;
  lookup(plan, *kernels, cells, epilogue, x, static_cast<std::size_t>(begin), static_cast<std::size_t>(end), out);
  return Status::kOk;
}

}  // namespace spartan
