// The lookup in float64, with the bound on what float32 arithmetic may differ by.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

#include "spartan/memory_lookup.h"

namespace test {

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

struct Reference {
  std::vector<double> out;        // [H]
  std::vector<double> tolerance;  // [H]
  bool selection_is_clear;        // no parent outside the chosen ones is within rounding of one inside
};

// A sum of n float products, in any order: every addition rounds a partial sum, whose size is about the root of the
// sum of squares. Four standard deviations of n such errors.
inline double dot_error(double square_sum, double value, std::size_t n) {
  return kEpsilon * (4.0 * std::sqrt(static_cast<double>(n) * square_sum) + std::fabs(value));
}

// What a quantised form rounds on purpose. Child logits come from a row that is already rounded, so that they are exact
// but for float32; weights times scales are rounded to 0 .. 127 of the largest one of a position and group.
struct Rounding {
  const float* x;          // [H] the row that child logits come from
  const int* values;       // [M, H] integers
  const float* scales;     // [M, groups]
  std::size_t groups;
};

// One position.
inline Reference reference_lookup(const spartan::MemoryShape& shape, const float* x, const double* parents,
                                  const double* scaled_keys, const double* values, const spartan::Epilogue& epilogue,
                                  const Rounding* rounding = nullptr) {
  const auto hidden = static_cast<std::size_t>(shape.hidden);
  const auto parent_count = static_cast<std::size_t>(shape.parents);
  const auto cells = static_cast<std::size_t>(shape.cells);
  const auto top_k = static_cast<std::size_t>(shape.top_k);
  const std::size_t children = cells / parent_count;

  const auto dot = [&](const float* x, const double* row, double* error) {
    double sum = 0;
    double squares = 0;
    for (std::size_t h = 0; h < hidden; ++h) {
      const double product = x[h] * row[h];
      sum += product;
      squares += product * product;
    }
    *error = dot_error(squares, sum, hidden);
    return sum;
  };

  std::vector<double> logits(parent_count);
  std::vector<double> errors(parent_count);
  for (std::size_t e = 0; e < parent_count; ++e) logits[e] = dot(x, parents + e * hidden, &errors[e]);
  std::vector<std::size_t> order(parent_count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });

  Reference result;
  result.selection_is_clear = true;
  double parent_error = 0;
  for (std::size_t k = 0; k < top_k; ++k) parent_error = std::max(parent_error, errors[order[k]]);
  if (top_k < parent_count) {
    const double gap = logits[order[top_k - 1]] - logits[order[top_k]];
    double worst = 0;
    for (double error : errors) worst = std::max(worst, error);
    result.selection_is_clear = gap > 2 * worst;
  }

  double total = 0;
  for (std::size_t k = 0; k < top_k; ++k) total += std::exp(logits[order[k]] - logits[order[0]]);
  std::vector<double> y(hidden, 0.0);
  std::vector<double> magnitude(hidden, 0.0);
  std::vector<double> cell_weights(cells, 0.0);
  std::vector<double> smallest(hidden, 0.0);  // times the least that exp gives: weights end there, not at zero
  double relative = 0;
  for (std::size_t k = 0; k < top_k; ++k) {
    const std::size_t e = order[k];
    const double weight = std::exp(logits[e] - logits[order[0]]) / total;
    std::vector<double> child(children);
    double largest = -std::numeric_limits<double>::infinity();
    double worst = 0;
    for (std::size_t c = 0; c < children; ++c) {
      double error;
      child[c] = dot(rounding != nullptr ? rounding->x : x, scaled_keys + (e * children + c) * hidden, &error);
      // Two more roundings where the kernel multiplies by 1 / temperature, or by scales.
      error += 2 * kEpsilon * std::fabs(child[c]);
      worst = std::max(worst, error);
      largest = std::max(largest, child[c]);
    }
    double sum = 0;
    for (double logit : child) sum += std::exp(logit - largest);
    // An error d in the logits scales a softmax weight by at most exp(2 d).
    relative = std::max(relative, std::expm1(2 * (parent_error + worst)));
    for (std::size_t c = 0; c < children; ++c) {
      const double cell_weight = weight * std::exp(child[c] - largest) / sum;
      cell_weights[e * children + c] = cell_weight;
      for (std::size_t h = 0; h < hidden; ++h) {
        const double term = cell_weight * values[(e * children + c) * hidden + h];
        y[h] += term;
        magnitude[h] += std::fabs(term);
        smallest[h] += std::fabs(values[(e * children + c) * hidden + h]);
      }
    }
  }
  // Rounding of the softmaxes and of the weighted sum: one for each addend, and a dozen for exp and the divisions.
  relative += kEpsilon * static_cast<double>(top_k + children + top_k * children + 12);

  result.out.resize(hidden);
  result.tolerance.resize(hidden);
  for (std::size_t h = 0; h < hidden; ++h) {
    result.out[h] = (epilogue.residual ? x[h] : 0.0) + y[h];
    result.tolerance[h] = magnitude[h] * relative + kEpsilon * std::fabs(result.out[h]) + 2e-38 * smallest[h] + 1e-37;
  }
  for (std::size_t g = 0; rounding != nullptr && g < rounding->groups; ++g) {
    double largest = 0;
    for (std::size_t m = 0; m < cells; ++m) {
      largest = std::max(largest, cell_weights[m] * rounding->scales[m * rounding->groups + g]);
    }
    // Half a step each, and what the weights themselves are off by before they are rounded: a step may flip.
    const double error = largest / 127 * (0.5 + 127 * (relative + 4 * kEpsilon));
    const std::size_t width = hidden / rounding->groups;
    for (std::size_t h = g * width; h < (g + 1) * width; ++h) {
      double sum = 0;
      for (std::size_t m = 0; m < cells; ++m) {
        if (cell_weights[m] > 0) sum += std::abs(rounding->values[m * hidden + h]);
      }
      result.tolerance[h] += error * sum;
    }
  }
  if (epilogue.norm_weight == nullptr) return result;

  double mean = 0;
  double largest = 0;
  double row_error = 0;
  for (std::size_t h = 0; h < hidden; ++h) {
    mean += result.out[h];
    largest = std::max(largest, std::fabs(result.out[h]));
    row_error = std::max(row_error, result.tolerance[h]);
  }
  mean /= static_cast<double>(hidden);
  double variance = 0;
  for (double v : result.out) variance += (v - mean) * (v - mean);
  variance /= static_cast<double>(hidden);
  const double deviation = std::sqrt(variance + epilogue.norm_eps);
  // An error d of the row moves (v - mean) by at most 2 d and the deviation by at most 2 d; the sums over H round too.
  const double moved = 2 * (row_error + kEpsilon * std::sqrt(static_cast<double>(hidden)) * largest);
  for (std::size_t h = 0; h < hidden; ++h) {
    const double z = (result.out[h] - mean) / deviation;
    const double weight = epilogue.norm_weight[h];
    const double bias = epilogue.norm_bias != nullptr ? epilogue.norm_bias[h] : 0.0;
    result.tolerance[h] = std::fabs(weight) * (moved / deviation * (1 + std::fabs(z)) +
                                               kEpsilon * (8 + std::sqrt(static_cast<double>(hidden))) * std::fabs(z)) +
                          kEpsilon * (std::fabs(weight * z) + std::fabs(bias));
    result.out[h] = z * weight + bias;
  }
  return result;
}

}  // namespace test
