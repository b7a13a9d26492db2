// The int8 linear as an ExecuTorch operator. ExecuTorch does not check the bounds of dynamic dimensions, so every
// dimension, type and layout is checked here; a wrong one fails the call and never the process.
//
// Rows are quantised into an arena of the calling thread, grown on first use and kept; weights are read where the
// program's file is mapped. SPARTANC_LINEAR_KERNEL names a kernel to use in place of the best one, if there is one.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <optional>

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>

#include "kernels.h"
#include "operator.h"
#include "spartan/linear_int8.h"

namespace spartan {
namespace {

constexpr const char* kName = "spartan::linear_int8.out";
// What is worth waking another thread for, about 5 microseconds: numbers to quantise, bytes of weights to multiply with.
constexpr std::int64_t kQuantizeGrain = std::int64_t{1} << 14;
constexpr std::int64_t kMultiplyGrain = std::int64_t{1} << 16;

Isa chosen_isa() {
  static const Isa isa = [] {
    const char* name = std::getenv("SPARTANC_LINEAR_KERNEL");
    const Isa named = name == nullptr ? Isa::kBest : isa_named(name);
    return has_linear_kernel(named) ? named : Isa::kBest;
  }();
  return isa;
}

bool is_shape(const Tensor& t, ScalarType type, std::initializer_list<std::int64_t> sizes) {
  return is_dense(t, type) && t.dim() == static_cast<ssize_t>(sizes.size()) &&
         std::equal(sizes.begin(), sizes.end(), t.sizes().begin());
}

// The first rule that the call breaks, or null; then `shape` holds and `out` has its shape.
const char* broken_rule(const Tensor& x, const Tensor& blocks, const Tensor& scales, const Tensor& sums,
                        const std::optional<Tensor>& bias, Tensor& out, LinearShape& shape) {
  constexpr ssize_t kMaxDimensions = 8;
  if (x.dim() < 1 || x.dim() > kMaxDimensions || !is_dense(x, ScalarType::Float)) {
    return "x must be a dense float tensor of 1 to 8 dimensions";
  }
  if (scales.dim() != 1) return "weight_scales must be float [N]";
  shape.inputs = x.size(x.dim() - 1);
  shape.outputs = scales.size(0);
  shape.rows = 1;
  for (ssize_t d = 0; d + 1 < x.dim(); ++d) shape.rows *= x.size(d);  // a tensor's elements are countable
  if (const LinearStatus status = check(shape); status != LinearStatus::kOk) return describe(status);
  const std::int64_t output_blocks = (shape.outputs + kLinearBlockOutputs - 1) / kLinearBlockOutputs;
  const std::int64_t input_blocks = (shape.inputs + kLinearBlockInputs - 1) / kLinearBlockInputs;
  if (!is_shape(blocks, ScalarType::Char, {output_blocks, input_blocks, 16, 16, 4})) {
    return "weight_blocks must be int8 [ceil(N / 16), ceil(K / 64), 16, 16, 4]";
  }
  if (!is_shape(scales, ScalarType::Float, {shape.outputs})) return "weight_scales must be float [N]";
  if (!is_shape(sums, ScalarType::Int, {shape.outputs})) return "weight_sums must be int32 [N]";
  if (bias && !is_shape(*bias, ScalarType::Float, {shape.outputs})) return "bias must be float [N]";
  if (out.scalar_type() != ScalarType::Float) return "out must be a float tensor";
  SizesType sizes[kMaxDimensions];
  std::copy(x.sizes().begin(), x.sizes().end(), sizes);
  sizes[x.dim() - 1] = static_cast<SizesType>(shape.outputs);
  if (executorch::runtime::resize_tensor(out, {sizes, static_cast<std::size_t>(x.dim())}) != Error::Ok) {
    return "out cannot take the shape of the result";
  }
  return is_dense(out, ScalarType::Float) ? nullptr : "out must be dense";
}

Tensor& linear_int8_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight_blocks,
                        const Tensor& weight_scales, const Tensor& weight_sums, const std::optional<Tensor>& bias,
                        bool gelu, Tensor& out) {
  LinearShape shape{};
  if (const char* rule = broken_rule(x, weight_blocks, weight_scales, weight_sums, bias, out, shape)) {
    refuse(context, kName, rule);
    return out;
  }
  if (shape.rows == 0) return out;
  const std::size_t size = linear_int8_scratch_bytes(shape);
  char* scratch = arena(size);
  if (scratch == nullptr) {
    context.fail(Error::MemoryAllocationFailed);
    return out;
  }
  const LinearInt8Weights weights{weight_blocks.const_data_ptr<std::int8_t>(), weight_scales.const_data_ptr<float>(),
                                  weight_sums.const_data_ptr<std::int32_t>(),
                                  bias ? bias->const_data_ptr<float>() : nullptr, gelu};
  const Isa isa = chosen_isa();
  const float* input = x.const_data_ptr<float>();
  float* output = out.mutable_data_ptr<float>();
  const bool quantized = run_on_threads(
      context, kName, shape.rows, kQuantizeGrain / shape.inputs, 0, [&](std::int64_t begin, std::int64_t end, char*) {
        return linear_int8_quantize(shape, input, begin, end, scratch, size, isa);
      });
  if (!quantized) return out;
  const std::int64_t unit_bytes = shape.inputs * kLinearUnitOutputs;
  run_on_threads(context, kName, linear_int8_units(shape), kMultiplyGrain / unit_bytes, 0,
                 [&](std::int64_t begin, std::int64_t end, char*) {
                   return linear_int8_multiply(shape, weights, scratch, size, begin, end, output, isa);
                 });
  return out;
}

}  // namespace

const char* chosen_linear_kernel_name() {
  const Isa chosen = chosen_isa();
  return isa_name(chosen == Isa::kBest ? best_isa_linear() : chosen);
}

}  // namespace spartan

EXECUTORCH_LIBRARY(spartan, "linear_int8.out", spartan::linear_int8_out);
