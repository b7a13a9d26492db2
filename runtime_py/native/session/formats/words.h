// The words that manifests and task files are written in, and what follows from a task type. A word is added here and
// in docs/formats; tests/golden/bundles then wants cases of it.
#ifndef SPARTAN_FORMATS_WORDS_H
#define SPARTAN_FORMATS_WORDS_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace spartan {

constexpr std::string_view kFleet = "fleet";  // in place of a task type: each task of a fleet has its own

bool is_task_type(std::string_view word);
bool is_quantization(std::string_view word);
bool is_lowering(std::string_view word);
bool is_program_format(std::string_view word);

constexpr uint64_t kLargestVocabulary = uint64_t{1} << 30;

// Whether `value`, which may be null, can be `pairs`: absent, true, false or null.
bool is_pairs(const Json* value);

// Whether a model of the task type, or a fleet, can have exactly these classes.
bool labels_fit(std::string_view task_type, std::vector<std::string> labels);

// Whether each class is given by a threshold of its own, so that a text may have several.
bool has_thresholds(std::string_view task_type);
bool thresholds_fit(std::string_view task_type, size_t labels, const std::vector<double>& thresholds);

}  // namespace spartan
#endif
