#include "words.h"

#include <algorithm>

namespace spartan {

namespace {

constexpr std::string_view kClassification = "classification";
constexpr std::string_view kRegression = "regression";
constexpr std::string_view kMultilabel = "multilabel";

}  // namespace

bool is_task_type(std::string_view word) {
  return word == kClassification || word == kRegression || word == kMultilabel;
}

bool has_thresholds(std::string_view task_type) { return task_type == kMultilabel; }

bool is_quantization(std::string_view word) {
  return word == "none" || word == "int8" || word == "int4" || word == "int4-memories";
}

bool is_lowering(std::string_view word) { return word == "fused" || word == "portable"; }

bool is_program_format(std::string_view word) { return word == "executorch" || word == "torchscript"; }

bool is_pairs(const Json* value) {
  return value == nullptr || value->kind() == Json::Kind::kBool || value->kind() == Json::Kind::kNull;
}

bool labels_fit(std::string_view task_type, std::vector<std::string> labels) {
  std::sort(labels.begin(), labels.end());
  const bool distinct = std::adjacent_find(labels.begin(), labels.end()) == labels.end();
  return distinct && (task_type == kClassification ? labels.size() >= 2
                      : task_type == kMultilabel   ? !labels.empty()
                                                   : labels.empty());
}

bool thresholds_fit(std::string_view task_type, size_t labels, const std::vector<double>& thresholds) {
  return thresholds.size() == (has_thresholds(task_type) ? labels : 0) &&
         std::all_of(thresholds.begin(), thresholds.end(), [](double each) { return 0 < each && each < 1; });
}

}  // namespace spartan
