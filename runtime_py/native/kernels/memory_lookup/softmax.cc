// The softmaxes over parents and over children, for both ways of getting the logits.
#include "memory_lookup/lookup.h"

namespace spartan {

// Weights of the chosen cells from all logits, which are consumed.
void dense_weights(const Plan& plan, const F32Kernels& kernels, std::size_t positions, std::size_t stride,
                   std::size_t first_child) {
  for (std::size_t p = 0; p < positions; ++p) {
    float* logits = plan.logits + p * stride;
    kernels.shift_logits(logits, logits + first_child, plan.parents, plan.children);
  }
  kernels.exp_nonpositive(plan.logits, positions * stride);
  for (std::size_t p = 0; p < positions; ++p) {
    const float* logits = plan.logits + p * stride;
    kernels.weights_of_chosen(logits, logits + first_child, plan.parents, plan.children,
                              plan.chosen + p * plan.top_k, plan.top_k,
                              plan.weights + p * plan.weight_stride + plan.top_k, plan.sums);
  }
}

// The same from the parents' logits and the chosen children's, which stand where their weights are to be.
void sparse_weights(const Plan& plan, const F32Kernels& kernels, std::size_t positions, std::size_t stride) {
  for (std::size_t p = 0; p < positions; ++p) {
    const float* logits = plan.logits + p * stride;
    const std::uint32_t* chosen = plan.chosen + p * plan.top_k;
    float* weights = plan.weights + p * plan.weight_stride;
    float largest = logits[chosen[0]];
    for (std::size_t k = 0; k < plan.top_k; ++k) {
      weights[k] = logits[chosen[k]];
      largest = weights[k] > largest ? weights[k] : largest;
    }
    for (std::size_t k = 0; k < plan.top_k; ++k) weights[k] -= largest;
    for (std::size_t k = 0; k < plan.top_k; ++k) {
      float* child = weights + plan.top_k + k * plan.children;
      float top = child[0];
      for (std::size_t c = 1; c < plan.children; ++c) top = child[c] > top ? child[c] : top;
      for (std::size_t c = 0; c < plan.children; ++c) child[c] -= top;
    }
  }
  kernels.exp_nonpositive(plan.weights, positions * plan.weight_stride);
  for (std::size_t p = 0; p < positions; ++p) {
    float* weights = plan.weights + p * plan.weight_stride;
    float total = 0;
    for (std::size_t k = 0; k < plan.top_k; ++k) total += weights[k];
    for (std::size_t k = 0; k < plan.top_k; ++k) {
      float* child = weights + plan.top_k + k * plan.children;
      float sum = 0;
      for (std::size_t c = 0; c < plan.children; ++c) sum += child[c];
      const float scale = weights[k] / (total * sum);
      for (std::size_t c = 0; c < plan.children; ++c) child[c] *= scale;
    }
  }
}

}  // namespace spartan
