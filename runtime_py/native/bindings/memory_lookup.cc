// The memory lookup as ExecuTorch operators. ExecuTorch does not check the bounds of dynamic dimensions, so every
// dimension, type and layout is checked here; a wrong one fails the call and never the process.
//
// Scratch comes from an arena of the thread that works, grown on first use and kept: the kernels run on the threads of
// ExecuTorch's pool, each with its own positions, and a program's temporary allocator is neither made for several
// threads nor present in every runtime. The arena's size depends on the memory's shape, never on the positions.
#include <cinttypes>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <type_traits>

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>

#include "operator.h"
#include "spartan/memory_lookup.h"

namespace spartan {
namespace {

using OptionalTensor = std::optional<Tensor>;

// Positions that are worth waking another thread for: about 20 microseconds of one core's work.
constexpr std::int64_t kWorkGrain = std::int64_t{1} << 20;

// A check that remembers the first thing found wrong.
class Checks {
 public:
  explicit Checks(const char* operation) : operation_(operation) {}

  void that(bool holds, const char* rule) {
    if (holds || failed_) return;
    failed_ = true;
    ET_LOG(Error, "%s: %s", operation_, rule);
  }
  void status(Status status) { that(status == Status::kOk, describe(status)); }
  bool failed() const { return failed_; }
  const char* operation() const { return operation_; }

 private:
  const char* operation_;
  bool failed_ = false;
};

bool dense(const Tensor& t, ScalarType type, int dimensions) {
  return is_dense(t, type) && t.dim() == dimensions;
}

bool is_matrix(const Tensor& t, ScalarType type, std::int64_t rows, std::int64_t columns) {
  return dense(t, type, 2) && t.size(0) == rows && t.size(1) == columns;
}

// x and out: float, dense, [..., H].
void check_activations(Checks& checks, const Tensor& x, Tensor& out) {
  checks.that(x.dim() >= 1 && dense(x, ScalarType::Float, static_cast<int>(x.dim())), "x must be a dense float tensor");
  checks.that(out.scalar_type() == ScalarType::Float, "out must be a float tensor");
  if (checks.failed()) return;
  checks.that(executorch::runtime::resize_tensor(out, x.sizes()) == Error::Ok, "out cannot take the shape of x");
  if (checks.failed()) return;
  checks.that(is_dense(out, ScalarType::Float), "out must be dense");
}

void check_norm(Checks& checks, const OptionalTensor& weight, const OptionalTensor& bias, std::int64_t hidden) {
  checks.that(!weight || (dense(*weight, ScalarType::Float, 1) && weight->size(0) == hidden),
              "norm_weight must be float [H]");
  checks.that(!bias || (dense(*bias, ScalarType::Float, 1) && bias->size(0) == hidden), "norm_bias must be float [H]");
  checks.that(weight || !bias, "norm_bias needs norm_weight");
}

Epilogue make_epilogue(const OptionalTensor& weight, const OptionalTensor& bias, double eps, bool residual) {
  Epilogue epilogue;
  epilogue.residual = residual;
  epilogue.norm_weight = weight ? weight->const_data_ptr<float>() : nullptr;
  epilogue.norm_bias = bias ? bias->const_data_ptr<float>() : nullptr;
  epilogue.norm_eps = static_cast<float>(eps);
  return epilogue;
}

// [E, M, K] of the memory at hand: data, so that one program serves memories of different shapes.
MemoryShape read_layout(Checks& checks, const Tensor& layout, std::int64_t hidden) {
  MemoryShape shape{hidden, 0, 0, 0};
  checks.that(dense(layout, ScalarType::Long, 1) && layout.size(0) == 3, "layout must be int64 [3]: E, M, K");
  if (checks.failed()) return shape;
  const std::int64_t* sizes = layout.const_data_ptr<std::int64_t>();
  shape.parents = sizes[0];
  shape.cells = sizes[1];
  shape.top_k = sizes[2];
  checks.status(check(shape));
  return shape;
}

// Runs `call(begin, end, scratch, scratch_size)` over all positions on ExecuTorch's threads.
template <typename Call>
void for_positions(KernelRuntimeContext& context, const Checks& checks, const MemoryShape& shape, std::int64_t positions,
                   std::size_t scratch, const Call& call) {
  if (positions == 0) return;
  const std::int64_t cells = shape.parents + shape.top_k * (shape.cells / shape.parents) * 2;
  run_on_threads(context, checks.operation(), positions, kWorkGrain / (cells * shape.hidden), scratch,
                 [&](std::int64_t begin, std::int64_t end, char* memory) { return call(begin, end, memory, scratch); });
}

Tensor& memory_lookup_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& parents, const Tensor& keys,
                          const Tensor& values, std::int64_t top_k, double temperature, Tensor& out) {
  Checks checks("spartan::memory_lookup.out");
  check_activations(checks, x, out);
  checks.that(dense(parents, ScalarType::Float, 2) && dense(keys, ScalarType::Float, 2), "memory must be dense float");
  if (checks.failed()) {
    context.fail(Error::InvalidArgument);
    return out;
  }
  const std::int64_t hidden = x.size(x.dim() - 1);
  const MemoryShape shape{hidden, parents.size(0), keys.size(0), top_k};
  checks.status(check(shape));
  checks.that(parents.size(1) == hidden, "parents must be [E, H]");
  checks.that(keys.size(1) == hidden, "keys must be [M, H]");
  checks.that(is_matrix(values, ScalarType::Float, shape.cells, hidden), "values must be float [M, H]");
  if (checks.failed()) {
    context.fail(Error::InvalidArgument);
    return out;
  }
  const RowsF32 memory{parents.const_data_ptr<float>(), keys.const_data_ptr<float>(), values.const_data_ptr<float>(),
                       static_cast<float>(temperature)};
  const float* input = x.const_data_ptr<float>();
  float* output = out.mutable_data_ptr<float>();
  for_positions(context, checks, shape, x.numel() / hidden, scratch_bytes(shape),
                [&](std::int64_t begin, std::int64_t end, void* scratch, std::size_t size) {
                  return memory_lookup_rows_f32(shape, memory, Epilogue{}, input, begin, end, output, scratch, size);
                });
  return out;
}

Tensor& memory_lookup_packed_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& layout,
                                 const Tensor& logit_weights, const OptionalTensor& keys, const Tensor& values,
                                 const OptionalTensor& norm_weight, const OptionalTensor& norm_bias, double norm_eps,
                                 bool residual, Tensor& out) {
  Checks checks("spartan::memory_lookup.packed_out");
  check_activations(checks, x, out);
  if (checks.failed()) {
    context.fail(Error::InvalidArgument);
    return out;
  }
  const std::int64_t hidden = x.size(x.dim() - 1);
  const MemoryShape shape = read_layout(checks, layout, hidden);
  const std::int64_t columns = keys ? shape.parents : shape.parents + shape.cells;
  const std::int64_t blocks = (columns + kBlockColumns - 1) / kBlockColumns;
  checks.that(dense(logit_weights, ScalarType::Float, 3) && logit_weights.size(0) == blocks &&
                  logit_weights.size(1) == hidden && logit_weights.size(2) == kBlockColumns,
              "logit_weights must be float [ceil(N / 16), H, 16], N = E + M, or E where keys are given");
  checks.that(!keys || is_matrix(*keys, ScalarType::Float, shape.cells, hidden), "keys must be float [M, H]");
  if (keys) {
    checks.that(is_matrix(values, ScalarType::Float, shape.cells, hidden), "values must be float [M, H] where keys are given");
  } else {
    checks.that(dense(values, ScalarType::Float, 3) && values.size(0) == (hidden + kValueColumns - 1) / kValueColumns &&
                    values.size(1) == shape.cells && values.size(2) == kValueColumns,
                "values must be float [ceil(H / 64), M, 64] where no keys are given");
  }
  check_norm(checks, norm_weight, norm_bias, hidden);
  if (checks.failed()) {
    context.fail(Error::InvalidArgument);
    return out;
  }
  const PackedF32 memory{logit_weights.const_data_ptr<float>(), keys ? keys->const_data_ptr<float>() : nullptr,
                         values.const_data_ptr<float>()};
  const Epilogue epilogue = make_epilogue(norm_weight, norm_bias, norm_eps, residual);
  const float* input = x.const_data_ptr<float>();
  float* output = out.mutable_data_ptr<float>();
  for_positions(context, checks, shape, x.numel() / hidden, scratch_bytes(shape),
                [&](std::int64_t begin, std::int64_t end, void* scratch, std::size_t size) {
                  return memory_lookup_packed_f32(shape, memory, epilogue, input, begin, end, output, scratch, size);
                });
  return out;
}

bool is_vector(const Tensor& t, std::int64_t size) { return dense(t, ScalarType::Float, 1) && t.size(0) == size; }

template <typename Size>
bool is_shape(const Tensor& t, ScalarType type, std::initializer_list<Size> sizes) {
  if (!dense(t, type, static_cast<int>(sizes.size()))) return false;
  int d = 0;
  for (const Size size : sizes) {
    if (t.size(d++) != size) return false;
  }
  return true;
}

struct QuantizedTensors {
  const Tensor& logit_weights;
  const Tensor& key_cells;
  const Tensor& key_scales;
  const Tensor& value_cells;
  const Tensor& value_scales;
};

// The shapes that Int8Memory and Int4Memory state; which form the keys have, the rank of key_cells says.
void check_int8(Checks& checks, const MemoryShape& shape, const QuantizedTensors& t) {
  const std::int64_t h = shape.hidden, m = shape.cells;
  const std::int64_t wide = (h + kValueColumns - 1) / kValueColumns, blocks = (m + kBlockColumns - 1) / kBlockColumns;
  if (t.key_cells.dim() == 4) {
    checks.that(is_shape(t.key_cells, ScalarType::Char, {blocks, (h + 3) / 4, kBlockColumns, std::int64_t{4}}),
                "packed key_cells must be int8 [ceil(M / 16), ceil(H / 4), 16, 4]");
    checks.that(is_vector(t.key_scales, blocks * kBlockColumns), "key_scales must be float [ceil(M / 16) * 16]");
  } else {
    checks.that(is_matrix(t.key_cells, ScalarType::Char, m, wide * kValueColumns),
                "key_cells must be int8 [M, ceil(H / 64) * 64], or packed");
    checks.that(is_vector(t.key_scales, m), "key_scales must be float [M]");
  }
  checks.that(is_shape(t.value_cells, ScalarType::Char, {wide, blocks, std::int64_t{4}, kValueColumns, std::int64_t{4}}),
              "value_cells must be int8 [ceil(H / 64), ceil(M / 16), 4, 64, 4]");
  checks.that(is_vector(t.value_scales, blocks * kBlockColumns), "value_scales must be float [ceil(M / 16) * 16]");
}

void check_int4(Checks& checks, const MemoryShape& shape, const QuantizedTensors& t) {
  const std::int64_t h = shape.hidden, m = shape.cells, half = kValueColumns / 2;
  const std::int64_t wide = (h + kValueColumns - 1) / kValueColumns, blocks = (m + kBlockColumns - 1) / kBlockColumns;
  if (h % kInt4Group != 0) checks.status(Status::kBadGroups);
  if (t.key_cells.dim() == 4) {
    checks.that(is_shape(t.key_cells, ScalarType::Byte, {blocks, h / 8, kBlockColumns, std::int64_t{4}}),
                "packed key_cells must be uint8 [ceil(M / 16), H / 8, 16, 4]");
    checks.that(is_shape(t.key_scales, ScalarType::Float, {blocks, h / kInt4Group, kBlockColumns}),
                "packed key_scales must be float [ceil(M / 16), H / 32, 16]");
  } else {
    checks.that(is_matrix(t.key_cells, ScalarType::Byte, m, wide * half),
                "key_cells must be uint8 [M, ceil(H / 64) * 32], or packed");
    checks.that(is_matrix(t.key_scales, ScalarType::Float, m, h / kInt4Group), "key_scales must be float [M, H / 32]");
  }
  checks.that(is_shape(t.value_cells, ScalarType::Byte, {wide, blocks, std::int64_t{4}, half, std::int64_t{4}}),
              "value_cells must be uint8 [ceil(H / 64), ceil(M / 16), 4, 32, 4]");
  checks.that(is_matrix(t.value_scales, ScalarType::Float, blocks * kBlockColumns, h / kInt4Group),
              "value_scales must be float [ceil(M / 16) * 16, H / 32]");
}

Status lookup(const MemoryShape& shape, const Int8Memory& memory, const Epilogue& epilogue, const float* x,
              std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t size) {
  return memory_lookup_int8(shape, memory, epilogue, x, begin, end, out, scratch, size);
}

Status lookup(const MemoryShape& shape, const Int4Memory& memory, const Epilogue& epilogue, const float* x,
              std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t size) {
  return memory_lookup_int4(shape, memory, epilogue, x, begin, end, out, scratch, size);
}

template <typename Memory, typename Cell>
Tensor& quantized_out(KernelRuntimeContext& context, Checks& checks,
                      void (*check_tensors)(Checks&, const MemoryShape&, const QuantizedTensors&), const Tensor& x,
                      const Tensor& layout, const QuantizedTensors& tensors, const OptionalTensor& norm_weight,
                      const OptionalTensor& norm_bias, double norm_eps, bool residual, Tensor& out) {
  check_activations(checks, x, out);
  if (checks.failed()) {
    context.fail(Error::InvalidArgument);
    return out;
  }
  const std::int64_t hidden = x.size(x.dim() - 1);
  const MemoryShape shape = read_layout(checks, layout, hidden);
  const std::int64_t blocks = (shape.parents + kBlockColumns - 1) / kBlockColumns;
  checks.that(is_shape(tensors.logit_weights, ScalarType::Float, {blocks, hidden, kBlockColumns}),
              "logit_weights must be float [ceil(E / 16), H, 16]");
  check_tensors(checks, shape, tensors);
  check_norm(checks, norm_weight, norm_bias, hidden);
  if (checks.failed()) {
    context.fail(Error::InvalidArgument);
    return out;
  }
  const bool rows = tensors.key_cells.dim() != 4;
  const Memory memory{tensors.logit_weights.const_data_ptr<float>(), tensors.key_cells.const_data_ptr<Cell>(),
                      tensors.key_scales.const_data_ptr<float>(), tensors.value_cells.const_data_ptr<Cell>(),
                      tensors.value_scales.const_data_ptr<float>(), rows};
  const Epilogue epilogue = make_epilogue(norm_weight, norm_bias, norm_eps, residual);
  const float* input = x.const_data_ptr<float>();
  float* output = out.mutable_data_ptr<float>();
  const std::size_t scratch_size = scratch_bytes(shape, std::is_same_v<Cell, std::int8_t> ? Cells::kInt8 : Cells::kInt4);
  for_positions(context, checks, shape, x.numel() / hidden, scratch_size,
                [&](std::int64_t begin, std::int64_t end, void* scratch, std::size_t size) {
                  return lookup(shape, memory, epilogue, input, begin, end, output, scratch, size);
                });
  return out;
}

Tensor& memory_lookup_int8_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& layout,
                               const Tensor& logit_weights, const Tensor& key_cells, const Tensor& key_scales,
                               const Tensor& value_cells, const Tensor& value_scales, const OptionalTensor& norm_weight,
                               const OptionalTensor& norm_bias, double norm_eps, bool residual, Tensor& out) {
  Checks checks("spartan::memory_lookup.int8_out");
  return quantized_out<Int8Memory, std::int8_t>(context, checks, check_int8, x, layout,
                                                {logit_weights, key_cells, key_scales, value_cells, value_scales},
                                                norm_weight, norm_bias, norm_eps, residual, out);
}

Tensor& memory_lookup_int4_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& layout,
                               const Tensor& logit_weights, const Tensor& key_cells, const Tensor& key_scales,
                               const Tensor& value_cells, const Tensor& value_scales, std::int64_t group_size,
                               const OptionalTensor& norm_weight, const OptionalTensor& norm_bias, double norm_eps,
                               bool residual, Tensor& out) {
  Checks checks("spartan::memory_lookup.int4_out");
  checks.that(group_size == kInt4Group, "group_size must be 32");
  return quantized_out<Int4Memory, std::uint8_t>(context, checks, check_int4, x, layout,
                                                 {logit_weights, key_cells, key_scales, value_cells, value_scales},
                                                 norm_weight, norm_bias, norm_eps, residual, out);
}

}  // namespace
}  // namespace spartan

EXECUTORCH_LIBRARY(spartan, "memory_lookup.out", spartan::memory_lookup_out);
EXECUTORCH_LIBRARY(spartan, "memory_lookup.packed_out", spartan::memory_lookup_packed_out);
EXECUTORCH_LIBRARY(spartan, "memory_lookup.int8_out", spartan::memory_lookup_int8_out);
EXECUTORCH_LIBRARY(spartan, "memory_lookup.int4_out", spartan::memory_lookup_int4_out);
