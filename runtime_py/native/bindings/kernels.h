// The one function of libspartan_ops.so that others call; its operators register themselves.
#ifndef SPARTAN_BINDINGS_KERNELS_H
#define SPARTAN_BINDINGS_KERNELS_H

#include <stddef.h>

// The kernel that this processor gets of the family number `index`, whose name goes to `family`; null past the last.
extern "C" __attribute__((visibility("default"))) const char* spartan_ops_kernel(size_t index, const char** family);

namespace spartan {

// Of linear_int8.cc, where the environment may choose another than the best.
const char* chosen_linear_kernel_name();

}  // namespace spartan
#endif
