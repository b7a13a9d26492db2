// Which kernels these operators take on this processor, by name: a benchmark is of them, a fault in them shows there.
#include "kernels.h"

#include "spartan/attention.h"
#include "spartan/layer_norm.h"
#include "spartan/memory_lookup.h"

namespace spartan {
namespace {

struct Family {
  const char* name;
  const char* (*kernel)();
};

constexpr Family kFamilies[] = {
    {"memory_lookup_f32", [] { return isa_name(best_isa_f32()); }},
    {"memory_lookup_quantized", [] { return isa_name(best_isa_quantized()); }},
    {"attention_f32", [] { return isa_name(best_isa_attention()); }},
    {"attention_half", [] { return isa_name(best_isa_attention_half()); }},
    {"layer_norm_f32", [] { return isa_name(best_isa_layer_norm()); }},
    {"linear_int8", [] { return chosen_linear_kernel_name(); }},
};

}  // namespace
}  // namespace spartan

const char* spartan_ops_kernel(size_t index, const char** family) {
  if (index >= sizeof spartan::kFamilies / sizeof spartan::kFamilies[0]) {
    return nullptr;
  }
  *family = spartan::kFamilies[index].name;
  return spartan::kFamilies[index].kernel();
}
