// What a task says of one row's logits, as JSON members without their braces.
#ifndef SPARTAN_SESSION_ANSWER_H
#define SPARTAN_SESSION_ANSWER_H

#include <string>
#include <vector>

namespace spartan {

// As `spartan run` prints a row: `label` and `logits`; of one number, and where there are no labels, what there is.
std::string answer_with_logits(const std::vector<float>& logits, const std::vector<std::string>& labels);

// As `spartanc run --json` does: `label` and `scores`; of a regression (`problem`) `label` null and `score`. CommandError
// where the program gave something that is no number.
std::string answer_with_scores(const std::vector<float>& logits, const std::vector<std::string>& labels,
                               const std::string& problem);

}  // namespace spartan
#endif
