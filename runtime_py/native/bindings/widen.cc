// Widening as an ExecuTorch operator; a wrong type or layout fails the call and never the process.
#include "spartan/widen.h"

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>

#include "operator.h"

namespace spartan {
namespace {

Tensor& widen_out(KernelRuntimeContext& context, const Tensor& x, Tensor& out) {
  const bool fits = is_dense(x, ScalarType::Half) && out.scalar_type() == ScalarType::Float &&
                    executorch::runtime::resize_tensor(out, x.sizes()) == Error::Ok && is_dense(out, ScalarType::Float);
  if (!fits) {
    refuse(context, "spartan::widen.out", "x must be a dense float16 tensor, out a dense float32 one");
    return out;
  }
  widen_f16(static_cast<const std::uint16_t*>(x.const_data_ptr()), out.mutable_data_ptr<float>(),
            static_cast<std::size_t>(x.numel()));
  return out;
}

}  // namespace
}  // namespace spartan

EXECUTORCH_LIBRARY(spartan, "widen.out", spartan::widen_out);
