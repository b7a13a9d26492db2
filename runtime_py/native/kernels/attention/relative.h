// What distances add to scores, for a head at a time. Internal to the library.
//
// One block of rows meets L + rows - 1 distances, which are columns side by side of a table: a product gives them all,
// and the score of (row, other) stands a column further left in every next row.
#pragma once

#include <cstddef>

#include "attention/f32_kernels.h"

namespace spartan {

// Floats of scratch: [queries, padded positions] of scores, and what one product gives.
std::size_t relative_scratch(const AttentionShape& shape);

// What keys say of the distance of queries: all of this head, into scratch.
void key_scores(const AttentionKernels& kernels, const AttentionShape& shape, const AttentionRows& rows,
                std::size_t first, float* scratch);

// Adds that, and what `count` queries from `begin` on say of the distance of keys, to their scores. Those of a query
// that is masked become equal, and the masked positions' too once the mask is added: it looks at all alike.
void add_distances(const AttentionKernels& kernels, const AttentionShape& shape, const AttentionRows& rows,
                   std::size_t first, std::size_t begin, std::size_t count, float* scratch, float* scores,
                   std::size_t stride);

}  // namespace spartan
