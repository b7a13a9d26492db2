#include "memory_lookup/quantized_avx512.inl"

namespace spartan {

const QuantizedKernels kMemoryLookupQuantized_avx512vnni = {
    quantize_whole_rows,   key_logits_int8,       key_logits_int4, key_dots_int8, key_dots_int4,
    quantize_weights_int8, quantize_weights_int4, weighted_int8,   weighted_int4,
    nullptr};

}  // namespace spartan
