// LayerNorm of a sum as an ExecuTorch operator. ExecuTorch does not check the bounds of dynamic dimensions, so every
// dimension, type and layout is checked here; a wrong one fails the call and never the process.
#include <algorithm>
#include <cstdint>
#include <optional>

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>

#include "operator.h"
#include "spartan/layer_norm.h"

namespace spartan {
namespace {

constexpr const char* kName = "spartan::add_layer_norm.out";
// Numbers that are worth waking another thread for: about 10 microseconds of one core's work.
constexpr std::int64_t kGrain = std::int64_t{1} << 14;

bool dense(const Tensor& t) { return is_dense(t, ScalarType::Float); }

bool same_shape(const Tensor& a, const Tensor& b) {
  return a.dim() == b.dim() && std::equal(a.sizes().begin(), a.sizes().end(), b.sizes().begin());
}

bool is_row(const Tensor& t, std::int64_t hidden) { return dense(t) && t.dim() == 1 && t.size(0) == hidden; }

// The first rule that the call breaks, or null.
const char* broken_rule(const Tensor& x, const std::optional<Tensor>& residual, const Tensor& weight,
                        const std::optional<Tensor>& bias, Tensor& out) {
  if (x.dim() < 1 || !dense(x)) return "x must be a dense float tensor";
  if (residual && !(dense(*residual) && same_shape(*residual, x))) return "residual must be a dense float tensor of x's shape";
  const std::int64_t hidden = x.size(x.dim() - 1);
  if (!is_row(weight, hidden)) return "weight must be float [H]";
  if (bias && !is_row(*bias, hidden)) return "bias must be float [H]";
  if (out.scalar_type() != ScalarType::Float) return "out must be a float tensor";
  if (executorch::runtime::resize_tensor(out, x.sizes()) != Error::Ok) return "out cannot take the shape of x";
  return dense(out) ? nullptr : "out must be dense";
}

Tensor& add_layer_norm_out(KernelRuntimeContext& context, const Tensor& x, const std::optional<Tensor>& residual,
                           const Tensor& weight, const std::optional<Tensor>& bias, double eps, Tensor& out) {
  if (const char* rule = broken_rule(x, residual, weight, bias, out)) {
    refuse(context, kName, rule);
    return out;
  }
  if (x.numel() == 0) return out;
  const std::int64_t hidden = x.size(x.dim() - 1);
  const LayerNorm norm{hidden, weight.const_data_ptr<float>(), bias ? bias->const_data_ptr<float>() : nullptr,
                       static_cast<float>(eps)};
  const float* input = x.const_data_ptr<float>();
  const float* added = residual ? residual->const_data_ptr<float>() : nullptr;
  float* output = out.mutable_data_ptr<float>();
  run_on_threads(context, kName, x.numel() / hidden, kGrain / hidden, 0,
                 [&](std::int64_t begin, std::int64_t end, char*) {
                   return add_layer_norm_f32(norm, input, added, begin, end, output);
                 });
  return out;
}

}  // namespace
}  // namespace spartan

EXECUTORCH_LIBRARY(spartan, "add_layer_norm.out", spartan::add_layer_norm_out);
