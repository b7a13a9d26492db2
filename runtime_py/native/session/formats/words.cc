#include "words.h"

#include <algorithm>

namespace spartan {

bool is_task_type(std::string_view word) { return word == "classification" || word == "regression"; }

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
  return distinct && (task_type == "classification" ? labels.size() >= 2 : labels.empty());
}

}  // namespace spartan
