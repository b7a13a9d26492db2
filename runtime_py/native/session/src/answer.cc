#include "answer.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "json.h"
#include "print.h"

namespace spartan {

namespace {

size_t largest(const std::vector<float>& logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Softmax, as the Python runtime computes it.
std::vector<double> probabilities(const std::vector<float>& logits) {
  const double most = logits[largest(logits)];
  std::vector<double> all;
  double sum = 0;
  for (const float logit : logits) {
    all.push_back(std::exp(static_cast<double>(logit) - most));
    sum += all.back();
  }
  for (double& each : all) {
    each /= sum;
  }
  return all;
}

}  // namespace

std::string answer_with_logits(const std::vector<float>& logits, const std::vector<std::string>& labels) {
  if (logits.size() == 1) {
    return "\"logits\":[" + json_number(logits[0]) + "]";
  }
  const size_t best = largest(logits);
  const std::string label = labels.size() == logits.size() ? json_quote(labels[best]) : std::to_string(best);
  return "\"label\":" + label + ",\"logits\":[" + joined(logits, [](float value) { return json_number(value); }) + "]";
}

std::string answer_with_scores(const std::vector<float>& logits, const std::vector<std::string>& labels,
                               const std::string& problem) {
  if (!std::all_of(logits.begin(), logits.end(), [](float value) { return std::isfinite(value); })) {
    throw CommandError("the program gave a logit that is no number", kExitInternal);
  }
  if (problem == "regression" && logits.size() == 1) {
    return "\"label\":null,\"score\":" + json_number(static_cast<double>(logits[0]));
  }
  if (problem != "classification" || logits.empty() || labels.size() != logits.size()) {
    throw CommandError("the program gave " + std::to_string(logits.size()) + " logits for a " + problem + " of " +
                           std::to_string(labels.size()) + " labels",
                       kExitInternal);
  }
  const std::vector<double> scores = probabilities(logits);
  std::string members;
  for (size_t i = 0; i < labels.size(); ++i) {
    members += (i > 0 ? "," : "") + json_quote(labels[i]) + ":" + json_number(scores[i]);
  }
  return "\"label\":" + json_quote(labels[largest(logits)]) + ",\"scores\":{" + members + "}";
}

}  // namespace spartan
