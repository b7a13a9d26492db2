// Which kernels of a family run. A family's list goes from plain to best: the last that this processor has is taken.
#pragma once

#include <cstddef>

#include "spartan/isa.h"

namespace spartan {

template <typename Kernels>
struct Implementation {
  Isa isa;
  Kernels kernels;  // a pointer
};

// The kernels for `isa`, or the best with kBest; null where this processor or the family has none.
template <typename Kernels, std::size_t Count>
Kernels find_kernels(const Implementation<Kernels> (&list)[Count], Isa isa) {
  Kernels found = nullptr;
  for (const Implementation<Kernels>& each : list) {
    if ((isa == Isa::kBest || isa == each.isa) && has_isa(each.isa)) found = each.kernels;
  }
  return found;
}

// What kBest stands for.
template <typename Kernels, std::size_t Count>
Isa best_isa(const Implementation<Kernels> (&list)[Count]) {
  Isa best = Isa::kPortable;
  for (const Implementation<Kernels>& each : list) {
    if (has_isa(each.isa)) best = each.isa;
  }
  return best;
}

}  // namespace spartan
