#include "memory_lookup/select.h"

#include <cstring>
#include <limits>

namespace spartan {
namespace {

// Up to this many logits every pair is compared; above, the threshold is found by bisection.
constexpr std::size_t kRankAll = 32;

// Integers that are ordered as the floats are, so that NaN cannot break the order.
void make_order(const float* logits, std::size_t count, std::int32_t* order) {
  for (std::size_t i = 0; i < count; ++i) {
    const float value = logits[i] + 0.0f;  // -0 becomes +0
    std::int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const std::int32_t ordered = bits ^ ((bits >> 31) & 0x7fffffff);
    order[i] = value != value ? std::numeric_limits<std::int32_t>::max() : ordered;
  }
}

}  // namespace

void select_largest(const float* logits, std::size_t count, std::size_t top_k, std::uint32_t* chosen,
                    std::int32_t* order, std::int32_t* ranks) {
  if (top_k == count) {
    for (std::size_t i = 0; i < count; ++i) chosen[i] = static_cast<std::uint32_t>(i);
    return;
  }
  make_order(logits, count, order);
  if (count <= kRankAll) {
    // ranks[i]: how many come before i. All ranks differ, so exactly top_k of them are below top_k.
    for (std::size_t i = 0; i < count; ++i) ranks[i] = 0;
    for (std::size_t j = 0; j < count; ++j) {
      const std::int32_t other = order[j];
      for (std::size_t i = 0; i < j; ++i) ranks[i] += other > order[i];
      for (std::size_t i = j + 1; i < count; ++i) ranks[i] += other >= order[i];
    }
    std::size_t n = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (ranks[i] < static_cast<std::int32_t>(top_k)) chosen[n++] = static_cast<std::uint32_t>(i);
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
  // All above the threshold are taken (fewer than top_k, or exactly top_k reach it), then ties in order of index.
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

}  // namespace spartan
