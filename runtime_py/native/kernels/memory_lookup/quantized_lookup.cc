// The int8 and int4 entry points: x and the weights become integers, and so do all products but the parents'.
#include "memory_lookup/lookup.h"
#include "memory_lookup/quantized_kernels.h"

namespace spartan {
namespace {

// Whether there is room for all quads, chosen or not.
bool has_all_quads(const Plan& plan) { return plan.quad_stride * kQuad >= plan.cells; }

// What the two widths have in common. `Width` brings the layout of its cells and its kernels.
template <typename Width>
struct QuantizedCells {
  static constexpr Cells kCells = Width::kCells;

  const F32Kernels* f32;
  const QuantizedKernels* kernels;
  const typename Width::Memory& memory;
  std::size_t parent_count, cell_count;

  bool ready() const { return kernels != nullptr; }
  bool has_null() const {
    return memory.logit_weights == nullptr || memory.key_cells == nullptr || memory.key_scales == nullptr ||
           memory.value_cells == nullptr || memory.value_scales == nullptr;
  }
  bool packed() const { return !memory.rows; }
  std::size_t first_child() const { return round_up(parent_count, kBlockColumns); }
  std::size_t key_columns() const { return packed() ? round_up(cell_count, kBlockColumns) : 0; }
  std::size_t stride() const { return first_child() + key_columns(); }

  static QuantizedRows quantized_rows(const Plan& plan) {
    return {plan.x_cells, plan.row_stride, plan.x_scales, plan.x_sums};
  }

  void logits(const Plan& plan, const float* rows, std::size_t positions) const {
    f32->logits(rows, positions, plan.hidden, memory.logit_weights, first_child() / kBlockColumns, plan.logits,
                stride());
    kernels->quantize_rows(rows, positions, plan.hidden, plan.hidden / plan.groups, plan.x_cells, plan.row_stride,
                           plan.x_scales, plan.x_sums);
    if (!packed()) return;
    (kernels->*Width::kKeyLogits)(quantized_rows(plan), positions, plan.hidden, memory.key_cells, memory.key_scales,
                                  key_columns() / kBlockColumns, plan.logits + first_child(), stride());
  }

  void dots(const Plan& plan, const float*, const std::uint32_t* picked, std::size_t count, std::size_t first,
            std::size_t key_count, float* out) const {
    (kernels->*Width::kKeyDots)(quantized_rows(plan), picked, count, plan.hidden,
                                memory.key_cells + first * Width::row_bytes(plan),
                                memory.key_scales + first * plan.groups, key_count, out);
  }

  void weights(const Plan& plan, const F32Kernels& own, std::size_t positions) const {
    if (packed() && Width::all_weights(*kernels, plan, memory.value_scales, positions, stride(), first_child())) return;
    float_weights(plan, own, *this, positions);
    for (std::size_t p = 0; p < positions; ++p) {
      Width::quantize_weights(*kernels, plan, memory.value_scales, p, collect_quads(plan, p));
    }
  }

  void weighted(const Plan& plan, const float*, std::size_t positions, const float* addend, float* out) const {
    const std::size_t value_quads = round_up(plan.cells, kBlockColumns) / kQuad;
    const QuantizedWeights weights{plan.quads,        plan.quad_counts,   plan.quad_stride,
                                   plan.weight_cells, plan.weight_scales, plan.weight_sums};
    (kernels->*Width::kWeighted)(memory.value_cells, value_quads, weights, addend, positions, plan.hidden,
                                 out);
  }

  // The quads that hold cells of p's chosen parents, which are in ascending order, and the weights in them.
  static std::size_t collect_quads(const Plan& plan, std::size_t p) {
    const std::uint32_t* chosen = plan.chosen + p * plan.top_k;
    const float* weights = plan.weights + p * plan.weight_stride + plan.top_k;
    std::uint32_t* quads = plan.quads + p * plan.quad_stride;
    if (has_all_quads(plan)) {  // loops of one length, which processors foresee
      std::fill(plan.quad_weights, plan.quad_weights + plan.quad_stride * kQuad, 0.0f);
      for (std::size_t k = 0; k < plan.top_k; ++k, weights += plan.children) {
        std::copy_n(weights, plan.children, plan.quad_weights + chosen[k] * plan.children);
      }
      for (std::size_t i = 0; i < plan.quad_stride; ++i) quads[i] = static_cast<std::uint32_t>(i);
      plan.quad_counts[p] = static_cast<std::uint32_t>(plan.quad_stride);
      return plan.quad_stride;
    }
    float* target = plan.quad_weights - kQuad;  // of the quad at hand
    std::size_t count = 0;
    std::size_t last = ~std::size_t{0};
    for (std::size_t k = 0; k < plan.top_k; ++k) {
      std::size_t cell = chosen[k] * plan.children;
      for (std::size_t c = 0; c < plan.children; ++c, ++cell) {
        if (cell / kQuad != last) {
          last = cell / kQuad;
          quads[count++] = static_cast<std::uint32_t>(last);
          target += kQuad;
          for (std::size_t j = 0; j < kQuad; ++j) target[j] = 0;
        }
        target[cell % kQuad] = *weights++;
      }
    }
    plan.quad_counts[p] = static_cast<std::uint32_t>(count);
    return count;
  }
};

struct Width8 {
  using Memory = Int8Memory;
  static constexpr Cells kCells = Cells::kInt8;
  // Where the kernels can, logits become integer weights in one step.
  static bool all_weights(const QuantizedKernels& kernels, const Plan& plan, const float* value_scales,
                          std::size_t positions, std::size_t stride, std::size_t first_child) {
    if (kernels.all_weights_int8 == nullptr || plan.parents > kAllWeightsParents ||
        plan.children > kAllWeightsChildren || !has_all_quads(plan)) {
      return false;
    }
    kernels.all_weights_int8(plan, positions, stride, first_child, value_scales);
    return true;
  }
  static constexpr auto kKeyLogits = &QuantizedKernels::key_logits_int8;
  static constexpr auto kKeyDots = &QuantizedKernels::key_dots_int8;
  static constexpr auto kWeighted = &QuantizedKernels::weighted_int8;
  static std::size_t row_bytes(const Plan& plan) { return plan.row_stride; }
  static void quantize_weights(const QuantizedKernels& kernels, const Plan& plan, const float* value_scales,
                               std::size_t p, std::size_t count) {
    const std::size_t first = p * plan.quad_stride;
    plan.weight_sums[p] =
        kernels.quantize_weights_int8(plan.quad_weights, value_scales, plan.quads + first, count, plan.scaled_weights,
                                      plan.weight_cells + first * kQuad, plan.weight_scales + p);
  }
};

struct Width4 {
  using Memory = Int4Memory;
  static constexpr Cells kCells = Cells::kInt4;
  static bool all_weights(const QuantizedKernels&, const Plan&, const float*, std::size_t, std::size_t, std::size_t) {
    return false;
  }
  static constexpr auto kKeyLogits = &QuantizedKernels::key_logits_int4;
  static constexpr auto kKeyDots = &QuantizedKernels::key_dots_int4;
  static constexpr auto kWeighted = &QuantizedKernels::weighted_int4;
  static std::size_t row_bytes(const Plan& plan) { return plan.row_stride / 2; }
  static void quantize_weights(const QuantizedKernels& kernels, const Plan& plan, const float* value_scales,
                               std::size_t p, std::size_t count) {
    const std::size_t first = p * plan.quad_stride, group = p * plan.groups;
    kernels.quantize_weights_int4(plan.quad_weights, value_scales, plan.quads + first, count, plan.groups,
                                  plan.scaled_weights, plan.weight_cells + first * plan.groups * kQuad,
                                  plan.weight_scales + group, plan.weight_sums + group);
  }
};

template <typename Width>
Status run_quantized(const MemoryShape& shape, const typename Width::Memory& memory, const Epilogue& epilogue,
                     const float* x, std::int64_t begin, std::int64_t end, float* out, void* scratch,
                     std::size_t scratch_size, Isa isa) {
  const F32Kernels* f32 = f32_kernels(f32_isa_beside(isa));
  QuantizedCells<Width> cells{f32, quantized_kernels(isa), memory, static_cast<std::size_t>(shape.parents),
                              static_cast<std::size_t>(shape.cells)};
  return run(shape, cells, f32, epilogue, x, begin, end, out, scratch, scratch_size);
}

}  // namespace

Status memory_lookup_int8(const MemoryShape& shape, const Int8Memory& memory, const Epilogue& epilogue, const float* x,
                          std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t scratch_size,
                          Isa isa) {
  return run_quantized<Width8>(shape, memory, epilogue, x, begin, end, out, scratch, scratch_size, isa);
}

Status memory_lookup_int4(const MemoryShape& shape, const Int4Memory& memory, const Epilogue& epilogue, const float* x,
                          std::int64_t begin, std::int64_t end, float* out, void* scratch, std::size_t scratch_size,
                          Isa isa) {
  if (shape.hidden % kInt4Group != 0) return Status::kBadGroups;
  return run_quantized<Width4>(shape, memory, epilogue, x, begin, end, out, scratch, scratch_size, isa);
}

}  // namespace spartan
