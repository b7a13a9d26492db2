#include "spartan/isa.h"

#include <cstring>

#include "cpu/features.h"

namespace spartan {
namespace {

struct Entry {
  Isa isa;
  const char* name;
  std::uint32_t needed;
};

constexpr Entry kEntries[] = {
    {Isa::kBest, "best", kCpuBaseline},
#define SPARTAN_ISA(enumerator, name, needed) {Isa::enumerator, name, needed},
#include "cpu/isa.inc"
#undef SPARTAN_ISA
};

}  // namespace

const char* isa_name(Isa isa) {
  for (const Entry& entry : kEntries) {
    if (entry.isa == isa) return entry.name;
  }
  return "unknown";
}

Isa isa_named(const char* name) {
  for (const Entry& entry : kEntries) {
    if (std::strcmp(entry.name, name) == 0) return entry.isa;
  }
  return Isa::kBest;
}

bool has_isa(Isa isa) {
  for (const Entry& entry : kEntries) {
    if (entry.isa == isa) return (cpu_features() & entry.needed) == entry.needed;
  }
  return false;
}

}  // namespace spartan
