// Attention as an ExecuTorch operator. ExecuTorch does not check the bounds of dynamic dimensions, so every dimension,
// type and layout is checked here; a wrong one fails the call and never the process.
//
// Scratch is the thread's own, which all operators share: arena.h.
#include <algorithm>
#include <cstdint>
#include <optional>

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>

#include "operator.h"
#include "spartan/attention.h"

namespace spartan {
namespace {

constexpr const char* kName = "spartan::attention.out";
constexpr const char* kHalfName = "spartan::attention_half.out";
constexpr const char* kRelativeName = "spartan::attention.relative_out";
constexpr const char* kWindowName = "spartan::window_attention.out";
constexpr const char* kWindowHalfName = "spartan::window_attention_half.out";
// Multiply-adds that are worth waking another thread for: about 10 microseconds of one core's work.
constexpr std::int64_t kGrain = std::int64_t{1} << 18;

bool dense(const Tensor& t) { return is_dense(t, ScalarType::Float); }

bool is_rows(const Tensor& t) { return dense(t) && t.dim() == 3 && t.size(0) == 1; }

// The first rule that the call breaks, or null.
const char* broken_rule(const std::optional<Tensor>& q, const Tensor& packed, const std::optional<Tensor>& mask,
                        std::int64_t heads, Tensor& out) {
  if (!is_rows(packed)) return "packed must be a dense float tensor [1, L, N]";
  if (heads < 1) return "heads must be at least 1";
  const std::int64_t parts = q ? 2 : 3, width = packed.size(2);
  if (width < 1 || width % (parts * heads) != 0) return "packed must be [1, L, 3 * H], or [1, L, 2 * H] with q, of whole heads";
  if (packed.size(1) < 1) return "L must be at least 1";
  const std::int64_t hidden = width / parts;
  if (hidden / heads > kMaxHeadSize) return "a head must have at most 1024 numbers";
  if (q && !(is_rows(*q) && q->size(2) == hidden)) return "q must be a dense float tensor [1, Q, H]";
  if (mask && !(dense(*mask) && mask->numel() == packed.size(1))) return "mask must be L dense floats";
  if (out.scalar_type() != ScalarType::Float) return "out must be a float tensor";
  const SizesType sizes[] = {1, static_cast<SizesType>(q ? q->size(1) : packed.size(1)), static_cast<SizesType>(hidden)};
  if (executorch::runtime::resize_tensor(out, {sizes, 3}) != Error::Ok) return "out cannot take its shape";
  return dense(out) ? nullptr : "out must be dense";
}

// The first rule that tables of distances break, or null.
const char* broken_table_rule(const std::optional<Tensor>& table, const Tensor& out, std::int64_t reach) {
  if (!table) return nullptr;
  if (!dense(*table) || table->dim() != 2 || table->size(0) != out.size(2)) return "tables must be dense floats [H, S]";
  return table->size(1) < relative_stride(reach) ? "S must be at least 2 * reach + 15" : nullptr;
}

enum class Precision { kFloat, kHalf };

void run(KernelRuntimeContext& context, const char* name, const std::optional<Tensor>& q, const Tensor& packed,
         const std::optional<Tensor>& mask, std::int64_t heads, const RelativePositions* relative, std::int64_t window,
         Precision precision, Tensor& out) {
  const std::int64_t width = packed.size(2), hidden = q ? width / 2 : width / 3;
  const AttentionShape shape{out.size(1), packed.size(1), heads, hidden / heads};
  const float* base = packed.const_data_ptr<float>();
  const float* keys = q ? base : base + hidden;
  const AttentionRows rows{q ? q->const_data_ptr<float>() : base, q ? hidden : width, keys, keys + hidden, width,
                           mask ? mask->const_data_ptr<float>() : nullptr, relative, window};
  float* output = out.mutable_data_ptr<float>();
  const bool half = precision == Precision::kHalf;
  const std::size_t scratch = half ? attention_half_scratch_bytes(shape) : attention_scratch_bytes(shape, relative != nullptr);
  const std::int64_t seen = std::min(shape.positions, 2 * window + 1);
  const std::int64_t work = 2 * (shape.queries + 1) * seen * shape.head_size;  // of one head
  run_on_threads(context, name, heads, kGrain / work, scratch,
                 [&](std::int64_t begin, std::int64_t end, char* memory) {
                   return half ? attention_half(shape, rows, begin, end, output, memory, scratch)
                               : attention_f32(shape, rows, begin, end, output, memory, scratch);
                 });
}

Tensor& attend(KernelRuntimeContext& context, const char* name, const std::optional<Tensor>& q, const Tensor& packed,
               const std::optional<Tensor>& mask, std::int64_t heads, Precision precision, Tensor& out) {
  if (const char* rule = broken_rule(q, packed, mask, heads, out)) {
    refuse(context, name, rule);
  } else {
    run(context, name, q, packed, mask, heads, nullptr, kMaxPositions, precision, out);
  }
  return out;
}

Tensor& attention_out(KernelRuntimeContext& context, const std::optional<Tensor>& q, const Tensor& packed,
                      const std::optional<Tensor>& mask, std::int64_t heads, Tensor& out) {
  return attend(context, kName, q, packed, mask, heads, Precision::kFloat, out);
}

Tensor& attention_half_out(KernelRuntimeContext& context, const std::optional<Tensor>& q, const Tensor& packed,
                           const std::optional<Tensor>& mask, std::int64_t heads, Tensor& out) {
  return attend(context, kHalfName, q, packed, mask, heads, Precision::kHalf, out);
}

Tensor& attention_relative_out(KernelRuntimeContext& context, const std::optional<Tensor>& q, const Tensor& packed,
                               const std::optional<Tensor>& mask, std::int64_t heads,
                               const std::optional<Tensor>& to_keys, const std::optional<Tensor>& to_queries,
                               std::int64_t reach, Tensor& out) {
  const char* rule = broken_rule(q, packed, mask, heads, out);
  if (rule == nullptr && out.size(1) > packed.size(1)) rule = "Q must be at most L";
  if (rule == nullptr && (reach < packed.size(1) || reach > kMaxPositions)) rule = "reach must be at least L";
  if (rule == nullptr) rule = broken_table_rule(to_keys, out, reach);
  if (rule == nullptr) rule = broken_table_rule(to_queries, out, reach);
  if (rule == nullptr && to_keys && to_queries && to_keys->size(1) != to_queries->size(1)) {
    rule = "both tables must have one shape";
  }
  if (rule != nullptr) {
    refuse(context, kRelativeName, rule);
    return out;
  }
  const RelativePositions relative{to_keys ? to_keys->const_data_ptr<float>() : nullptr,
                                   to_queries ? to_queries->const_data_ptr<float>() : nullptr,
                                   to_keys ? to_keys->size(1) : to_queries ? to_queries->size(1) : relative_stride(reach),
                                   reach};
  run(context, kRelativeName, q, packed, mask, heads, &relative, kMaxPositions, Precision::kFloat, out);
  return out;
}

Tensor& attend_in_window(KernelRuntimeContext& context, const char* name, const std::optional<Tensor>& q,
                         const Tensor& packed, const std::optional<Tensor>& mask, std::int64_t heads, std::int64_t reach,
                         Precision precision, Tensor& out) {
  const char* rule = broken_rule(q, packed, mask, heads, out);
  if (rule == nullptr && out.size(1) > packed.size(1)) rule = "Q must be at most L";
  if (rule == nullptr && reach < 0) rule = "reach must not be negative";
  if (rule != nullptr) {
    refuse(context, name, rule);
  } else {
    run(context, name, q, packed, mask, heads, nullptr, std::min(reach, kMaxPositions), precision, out);
  }
  return out;
}

Tensor& window_attention_out(KernelRuntimeContext& context, const std::optional<Tensor>& q, const Tensor& packed,
                             const std::optional<Tensor>& mask, std::int64_t heads, std::int64_t reach, Tensor& out) {
  return attend_in_window(context, kWindowName, q, packed, mask, heads, reach, Precision::kFloat, out);
}

Tensor& window_attention_half_out(KernelRuntimeContext& context, const std::optional<Tensor>& q, const Tensor& packed,
                                  const std::optional<Tensor>& mask, std::int64_t heads, std::int64_t reach,
                                  Tensor& out) {
  return attend_in_window(context, kWindowHalfName, q, packed, mask, heads, reach, Precision::kHalf, out);
}

}  // namespace
}  // namespace spartan

EXECUTORCH_LIBRARY(spartan, "attention.out", spartan::attention_out);
EXECUTORCH_LIBRARY(spartan, "attention_half.out", spartan::attention_half_out);
EXECUTORCH_LIBRARY(spartan, "attention.relative_out", spartan::attention_relative_out);
EXECUTORCH_LIBRARY(spartan, "window_attention.out", spartan::window_attention_out);
EXECUTORCH_LIBRARY(spartan, "window_attention_half.out", spartan::window_attention_half_out);
