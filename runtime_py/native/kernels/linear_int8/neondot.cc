// The int8 linear on Arm processors with dot products of bytes (from Cortex-A55 and A75 on).
#include "linear_int8/neondot.inl"

namespace spartan {

const LinearKernels kLinearInt8_neondot = {range, quantize, multiply_units<dotprod::Strip<ExactGelu>>, kByteOfZero};

}  // namespace spartan
