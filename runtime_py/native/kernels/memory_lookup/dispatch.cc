// Which kernel set runs: the last of its list that this processor has the features for, or the one asked for.
#include "memory_lookup/f32_kernels.h"
#include "memory_lookup/quantized_kernels.h"

namespace spartan {
namespace {

bool has(std::uint32_t needed) { return (cpu_features() & needed) == needed; }

}  // namespace

const F32Kernels* f32_kernels(Isa isa) {
  const F32Kernels* best = nullptr;
#define SPARTAN_F32(enumerator, suffix, needed) \
  if (has(needed) && (isa == Isa::kBest || isa == Isa::enumerator)) best = &kMemoryLookupF32_##suffix;
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32
  return best;
}

Isa best_isa_f32() {
  Isa best = Isa::kPortable;
#define SPARTAN_F32(enumerator, suffix, needed) \
  if (has(needed)) best = Isa::enumerator;
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32
  return best;
}

const QuantizedKernels* quantized_kernels(Isa isa) {
  const QuantizedKernels* best = nullptr;
#define SPARTAN_QUANTIZED(enumerator, f32_isa, suffix, needed) \
  if (has(needed) && (isa == Isa::kBest || isa == Isa::enumerator)) best = &kMemoryLookupQuantized_##suffix;
#include "memory_lookup/quantized_kernels.inc"
#undef SPARTAN_QUANTIZED
  return best;
}

Isa f32_isa_beside(Isa isa) {
#define SPARTAN_QUANTIZED(enumerator, f32_isa, suffix, needed) \
  if (isa == Isa::enumerator) return Isa::f32_isa;
#include "memory_lookup/quantized_kernels.inc"
#undef SPARTAN_QUANTIZED
  return isa;
}

Isa best_isa_quantized() {
  Isa best = Isa::kPortable;
#define SPARTAN_QUANTIZED(enumerator, f32_isa, suffix, needed) \
  if (has(needed)) best = Isa::enumerator;
#include "memory_lookup/quantized_kernels.inc"
#undef SPARTAN_QUANTIZED
  return best;
}

std::size_t scratch_bytes(const MemoryShape& shape, Cells cells) {
  return check(shape) == Status::kOk ? make_plan(shape, cells, nullptr).bytes : 0;
}

}  // namespace spartan
