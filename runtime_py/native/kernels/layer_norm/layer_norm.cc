// Checks of a call.
#include "spartan/layer_norm.h"

#include <cmath>

#include "cpu/dispatch.h"
#include "layer_norm/f32_kernels.h"

namespace spartan {
namespace {

constexpr Implementation<AddLayerNormF32> kKernels[] = {
#define SPARTAN_LAYER_NORM(isa, suffix) {Isa::isa, add_layer_norm_f32_##suffix},
#include "layer_norm/f32_kernels.inc"
#undef SPARTAN_LAYER_NORM
};

}  // namespace

Isa best_isa_layer_norm() { return best_isa(kKernels); }

Status add_layer_norm_f32(const LayerNorm& norm, const float* x, const float* residual, std::int64_t begin,
                          std::int64_t end, float* out, Isa isa) {
  if (norm.hidden < 1 || norm.hidden > kMaxHidden) return Status::kBadHidden;
  if (begin < 0 || end < begin) return Status::kBadRange;
  if (!(norm.eps >= 0 && std::isfinite(norm.eps))) return Status::kBadNorm;
  if (norm.weight == nullptr) return Status::kNullPointer;
  if (begin == end) return Status::kOk;
  if (x == nullptr || out == nullptr) return Status::kNullPointer;
  const AddLayerNormF32 run = find_kernels(kKernels, isa);
  if (run == nullptr) return Status::kNoSuchKernel;
  const std::int64_t at = begin * norm.hidden;
  run(x + at, residual != nullptr ? residual + at : nullptr, static_cast<std::size_t>(end - begin),
      static_cast<std::size_t>(norm.hidden), norm.weight, norm.bias, norm.eps, out + at);
  return Status::kOk;
}

}  // namespace spartan
