// Widening as an ExecuTorch operator; a wrong type or layout fails the call and never the process.
#include "spartan/widen.h"

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/core/exec_aten/util/tensor_util.h>
#include <executorch/runtime/kernel/kernel_includes.h>

namespace spartan {
namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;

bool is_dense(const Tensor& t) { return executorch::runtime::is_contiguous_dim_order(t.dim_order().data(), t.dim()); }

Tensor& widen_out(KernelRuntimeContext& context, const Tensor& x, Tensor& out) {
  const bool fits = x.scalar_type() == ScalarType::Half && out.scalar_type() == ScalarType::Float && is_dense(x) &&
                    executorch::runtime::resize_tensor(out, x.sizes()) == Error::Ok && is_dense(out);
  if (!fits) {
    ET_LOG(Error, "spartan::widen.out: x must be a dense float16 tensor, out a dense float32 one");
    context.fail(Error::InvalidArgument);
    return out;
  }
  widen_f16(static_cast<const std::uint16_t*>(x.const_data_ptr()), out.mutable_data_ptr<float>(),
            static_cast<std::size_t>(x.numel()));
  return out;
}

}  // namespace
}  // namespace spartan

EXECUTORCH_LIBRARY(spartan, "widen.out", spartan::widen_out);
