// The family's lists of kernels.
#include "cpu/dispatch.h"
#include "memory_lookup/f32_kernels.h"
#include "memory_lookup/plan.h"
#include "memory_lookup/quantized_kernels.h"

namespace spartan {
namespace {

constexpr Implementation<const F32Kernels*> kF32[] = {
#define SPARTAN_F32(isa, suffix) {Isa::isa, &kMemoryLookupF32_##suffix},
#include "memory_lookup/f32_kernels.inc"
#undef SPARTAN_F32
};

constexpr Implementation<const QuantizedKernels*> kQuantized[] = {
#define SPARTAN_QUANTIZED(isa, f32_isa, suffix) {Isa::isa, &kMemoryLookupQuantized_##suffix},
#include "memory_lookup/quantized_kernels.inc"
#undef SPARTAN_QUANTIZED
};

}  // namespace

const F32Kernels* f32_kernels(Isa isa) { return find_kernels(kF32, isa); }
const QuantizedKernels* quantized_kernels(Isa isa) { return find_kernels(kQuantized, isa); }
Isa best_isa_f32() { return best_isa(kF32); }
Isa best_isa_quantized() { return best_isa(kQuantized); }

Isa f32_isa_beside(Isa isa) {
#define SPARTAN_QUANTIZED(enumerator, f32_isa, suffix) \
  if (isa == Isa::enumerator) return Isa::f32_isa;
#include "memory_lookup/quantized_kernels.inc"
#undef SPARTAN_QUANTIZED
  return isa;
}

std::size_t scratch_bytes(const MemoryShape& shape, Cells cells) {
  return check(shape) == Status::kOk ? make_plan(shape, cells, nullptr).bytes : 0;
}

}  // namespace spartan
