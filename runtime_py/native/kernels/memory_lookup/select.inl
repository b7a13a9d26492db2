// Choosing the K largest of E logits without sorting them, and the softmaxes over dense logits: plain loops that each
// instruction set's .cc compiles for itself by including this inside its anonymous namespace.

// Up to this many logits every pair is compared; above, the threshold is found by bisection.
constexpr std::size_t kRankAll = 32;

// Integers that are ordered as the floats are: exact ties stay ties, -0 equals +0, NaN is larger than infinity.
// All results are above the smallest int32.
inline void make_order(const float* logits, std::size_t count, std::int32_t* order) {
  for (std::size_t i = 0; i < count; ++i) {
    const float value = logits[i] + 0.0f;  // -0 becomes +0
    std::int32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    const std::int32_t ordered = bits ^ ((bits >> 31) & 0x7fffffff);
    order[i] = value != value ? 0x7fffffff : ordered;
  }
}

// ranks[i] becomes how many come before i. All ranks differ, so exactly K of them are below K.
// 16 at a time with a constant trip count, so that the compiler makes whole vectors of it; both arrays are padded.
inline void rank_all(const std::int32_t* order, std::size_t count, std::int32_t* ranks) {
  for (std::size_t block = 0; block < count; block += 16) {
    std::int32_t rank[16] = {};
    const std::int32_t* own = order + block;
    for (std::size_t j = 0; j < block; ++j) {
      const std::int32_t other = order[j];
      for (std::size_t i = 0; i < 16; ++i) rank[i] += other >= own[i];
    }
    for (std::size_t j = 0; j < 16; ++j) {
      // `other >= own` for those behind j, who lose ties to it; `other > own` for the rest.
      const std::int32_t other = own[j];
      for (std::size_t i = 0; i < 16; ++i) rank[i] += other > own[i] - static_cast<std::int32_t>(i > j);
    }
    for (std::size_t j = block + 16; j < count; ++j) {
      const std::int32_t other = order[j];
      for (std::size_t i = 0; i < 16; ++i) rank[i] += other > own[i];
    }
    for (std::size_t i = 0; i < 16; ++i) ranks[block + i] = rank[i];
  }
}

// Writes the indices of the `top_k` largest of logits[0, count) to chosen[0, top_k), ascending by index.
// For any input these are `top_k` distinct indices below `count`. order: scratch of `count` rounded up to 16.
void select_largest(const float* logits, std::size_t count, std::size_t top_k, std::uint32_t* chosen,
                    std::int32_t* order) {
  if (top_k == count) {
    for (std::size_t i = 0; i < count; ++i) chosen[i] = static_cast<std::uint32_t>(i);
    return;
  }
  make_order(logits, count, order);
  if (count <= kRankAll) {
    std::int32_t ranks[kRankAll];
    // Padding that comes behind everything.
    for (std::size_t i = count; i % 16 != 0; ++i) order[i] = -0x7fffffff;
    rank_all(order, count, ranks);
    std::size_t n = 0;
    for (std::size_t i = 0; n < top_k; ++i) {  // ends: exactly top_k of the first `count` ranks are below top_k
      chosen[n] = static_cast<std::uint32_t>(i);
      n += ranks[i] < static_cast<std::int32_t>(top_k);
    }
    return;
  }
  // The largest threshold that at least top_k logits reach; 64 bits so that the midpoint cannot overflow.
  std::int64_t low = order[0];
  std::int64_t high = order[0];
  for (std::size_t i = 1; i < count; ++i) {
    low = order[i] < low ? order[i] : low;
    high = order[i] > high ? order[i] : high;
  }
  std::size_t reached = count;  // how many reach `low`
  while (low < high && reached != top_k) {
    const std::int64_t middle = low + (high - low + 1) / 2;
    const std::int32_t threshold = static_cast<std::int32_t>(middle);
    std::int32_t hits = 0;
    for (std::size_t i = 0; i < count; ++i) hits += order[i] >= threshold;
    if (static_cast<std::size_t>(hits) >= top_k) {
      low = middle;
      reached = static_cast<std::size_t>(hits);
    } else {
      high = middle - 1;
    }
  }
  // All above the threshold are taken, then those at it in order of index until there are top_k.
  std::size_t above = 0;
  for (std::size_t i = 0; i < count; ++i) above += order[i] > low;
  std::size_t ties_left = top_k - above;
  std::size_t n = 0;
  for (std::size_t i = 0; i < count && n < top_k; ++i) {
    if (order[i] > low) {
      chosen[n++] = static_cast<std::uint32_t>(i);
    } else if (order[i] == low && ties_left > 0) {
      chosen[n++] = static_cast<std::uint32_t>(i);
      --ties_left;
    }
  }
}

// logits: E of parents; child: C rows of E child logits. Subtracts the largest parent logit, and from every parent's
// children their largest, so that exp() cannot overflow.
void shift_logits(float* logits, float* child, std::size_t parents, std::size_t children) {
  float largest = logits[0];
  for (std::size_t e = 1; e < parents; ++e) largest = logits[e] > largest ? logits[e] : largest;
  for (std::size_t e = 0; e < parents; ++e) logits[e] -= largest;
  for (std::size_t e0 = 0; e0 < parents; e0 += 16) {
    const std::size_t count = parents - e0 < 16 ? parents - e0 : 16;
    float top[16];
    for (std::size_t i = 0; i < count; ++i) top[i] = child[e0 + i];
    for (std::size_t c = 1; c < children; ++c) {
      const float* row = child + c * parents + e0;
      for (std::size_t i = 0; i < count; ++i) top[i] = row[i] > top[i] ? row[i] : top[i];
    }
    for (std::size_t c = 0; c < children; ++c) {
      float* row = child + c * parents + e0;
      for (std::size_t i = 0; i < count; ++i) row[i] -= top[i];
    }
  }
}

// From the exponentials of shifted logits: weights[k * C + c] of the chosen parents' cells. sums: scratch of E.
void weights_of_chosen(const float* exponentials, const float* child, std::size_t parents, std::size_t children,
                       const std::uint32_t* chosen, std::size_t top_k, float* weights, float* sums) {
  float total = 0;
  for (std::size_t k = 0; k < top_k; ++k) total += exponentials[chosen[k]];
  for (std::size_t e = 0; e < parents; ++e) sums[e] = child[e];
  for (std::size_t c = 1; c < children; ++c) {
    for (std::size_t e = 0; e < parents; ++e) sums[e] += child[c * parents + e];
  }
  for (std::size_t e = 0; e < parents; ++e) sums[e] = exponentials[e] / (total * sums[e]);
  for (std::size_t k = 0; k < top_k; ++k) {
    const std::size_t e = chosen[k];
    const float scale = sums[e];
    for (std::size_t c = 0; c < children; ++c) weights[k * children + c] = child[c * parents + e] * scale;
  }
}
