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

std::vector<double> sigmoids(const std::vector<float>& logits) {
  std::vector<double> all;
  for (const float logit : logits) {
    all.push_back(1 / (1 + std::exp(-static_cast<double>(logit))));
  }
  return all;
}

// A JSON list of the labels whose scores are above their thresholds.
std::string given(const std::vector<double>& scores, const std::vector<Label>& labels) {
  std::vector<std::string> names;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (scores[i] > labels[i].threshold) {
      names.push_back(labels[i].name);
    }
  }
  return texts(names);
}

std::string by_name(const std::vector<double>& scores, const std::vector<Label>& labels) {
  std::string members;
  for (size_t i = 0; i < labels.size(); ++i) {
    members += (i > 0 ? "," : "") + json_quote(labels[i].name) + ":" + json_number(scores[i]);
  }
  return "{" + members + "}";
}

bool have_thresholds(const std::vector<Label>& labels) { return !labels.empty() && labels[0].threshold > 0; }

}  // namespace

std::string answer_with_logits(const std::vector<float>& logits, const std::vector<Label>& labels) {
  const std::string values = "\"logits\":[" + joined(logits, [](float value) { return json_number(value); }) + "]";
  const bool are_named = labels.size() == logits.size();
  if (are_named && have_thresholds(labels)) {
    const std::vector<double> scores = sigmoids(logits);
    return "\"labels\":" + given(scores, labels) + ",\"scores\":[" +
           joined(scores, [](double value) { return json_number(value); }) + "]," + values;
  }
  if (logits.size() == 1) {
    return values;
  }
  const size_t best = largest(logits);
  return "\"label\":" + (are_named ? json_quote(labels[best].name) : std::to_string(best)) + "," + values;
}

std::string answer_with_scores(const std::vector<float>& logits, const std::vector<Label>& labels,
                               const std::string& problem) {
  if (!std::all_of(logits.begin(), logits.end(), [](float value) { return std::isfinite(value); })) {
    throw CommandError("the program gave a logit that is no number", kExitInternal);
  }
  if (problem == "regression" && logits.size() == 1) {
    return "\"label\":null,\"score\":" + json_number(static_cast<double>(logits[0]));
  }
  if (logits.empty() || labels.size() != logits.size()) {
    throw CommandError("the program gave " + std::to_string(logits.size()) + " logits for a " + problem + " of " +
                           std::to_string(labels.size()) + " labels",
                       kExitInternal);
  }
  if (have_thresholds(labels)) {
    const std::vector<double> scores = sigmoids(logits);
    return "\"label\":null,\"labels\":" + given(scores, labels) + ",\"scores\":" + by_name(scores, labels);
  }
  return "\"label\":" + json_quote(labels[largest(logits)].name) +
         ",\"scores\":" + by_name(probabilities(logits), labels);
}

}  // namespace spartan
