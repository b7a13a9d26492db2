// What a task says of one row's logits, as JSON members without their braces.
#ifndef SPARTAN_SESSION_ANSWER_H
#define SPARTAN_SESSION_ANSWER_H

#include <string>
#include <vector>

#include "bundle.h"

namespace spartan {

// As `spartan run` prints a row: `label` and `logits`; of one number, and where there are no labels, what there is; `labels`
// above their thresholds and `scores` where they have any.
std::string answer_with_logits(const std::vector<float>& logits, const std::vector<Label>& labels);

// As `spartanc run --json` does: `label` and `scores`; of a regression (`problem`) `label` null and `score`; `labels` beside
// `label` null where they have thresholds. CommandError where the program gave something that is no number.
std::string answer_with_scores(const std::vector<float>& logits, const std::vector<Label>& labels,
                               const std::string& problem);

}  // namespace spartan
#endif
