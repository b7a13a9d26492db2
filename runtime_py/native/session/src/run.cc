#include <cstdio>
#include <string>
#include <vector>

#include "answer.h"
#include "bundle.h"
#include "commands.h"
#include "error.h"
#include "inputs.h"
#include "json.h"
#include "print.h"
#include "program.h"
#include "safetensors.h"

namespace spartan {

namespace {

double sigmoid(float logit) { return 1 / (1 + std::exp(-static_cast<double>(logit))); }

// Names in quotes of the labels whose scores are above their thresholds.
std::vector<std::string> given(const std::vector<double>& scores, const std::vector<Label>& labels) {
  std::vector<std::string> names;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (scores[i] > labels[i].threshold) {
      names.push_back(json_quote(labels[i].name));
    }
  }
  return names;
}

// One row's answer as a JSON object: its logits, with the label that has the largest one; labels and scores where labels
// have thresholds. `labels` may be missing.
std::string answer(const std::vector<float>& logits, const std::vector<Label>& labels) {
  const std::string values = "\"logits\":[" + joined(logits, [](float value) { return json_number(value); }) + "]}";
  const bool are_named = labels.size() == logits.size();
  if (are_named && labels[0].threshold > 0) {
    std::vector<double> scores(logits.size());
    std::transform(logits.begin(), logits.end(), scores.begin(), sigmoid);
    return "{\"labels\":[" + joined(given(scores, labels), [](const std::string& name) { return name; }) +
           "],\"scores\":[" + joined(scores, [](double value) { return json_number(value); }) + "]," + values;
  }
  if (logits.size() == 1) {
    return "{" + values;
  }
  const auto best = static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  return "{\"label\":" + (are_named ? json_quote(labels[best].name) : std::to_string(best)) + "," + values;
}

}  // namespace

int run(const Options& options) {
  if (!options.has("--ids")) {
    throw CommandError("`spartan run` needs `--ids FILE.safetensors`");
  }
  const Bundle bundle = open_bundle(options.bundle, options.text("--require-signature"));
  const std::vector<Row> rows = read_rows(options.text("--ids"), options.has("--keep-padding"), bundle);
  const MoreInputs more(bundle, options);
  Program program(bundle, options);
  more.check_probe(program, bundle);
  std::vector<float> logits;
  std::vector<double> run_ms;
  size_t classes = 0;
  for (const Row& row : rows) {
    program.run(inputs_of(row, more.tensors()));
    run_ms.push_back(milliseconds(program.statistics().last_run_ns));
    const std::vector<float> result = program.logits();
    if (result.empty() || (classes != 0 && result.size() != classes)) {
      throw CommandError("the program gave " + std::to_string(result.size()) + " logits", kExitInternal);
    }
    classes = result.size();
    logits.insert(logits.end(), result.begin(), result.end());
  }
  warn_of_damage(bundle);
  if (options.has("--out")) {
    write_float_matrix(options.text("--out"), "logits", logits, rows.size(), classes);
  }
  if (options.has("--profile")) {
    program.write_profile(options.text("--profile"));
  }
  std::vector<std::string> lines;
  for (size_t row = 0; row < rows.size(); ++row) {
    const auto of_row = logits.begin() + static_cast<std::ptrdiff_t>(row * classes);
    const std::vector<float> values(of_row, of_row + static_cast<std::ptrdiff_t>(classes));
    lines.push_back("{" + answer_with_logits(values, more.labels(bundle)) + "}");
  }
  if (!options.has("--json")) {
    for (const std::string& line : lines) {
      printf("%s\n", line.c_str());
    }
    return 0;
  }
  const spartan_statistics statistics = program.statistics();
  printf("{\"rows\":[%s],\"run_ms\":[%s],\"load_ms\":%s,\"peak_rss_mb\":%s,\"threads\":%u,\"kernels\":%s}\n",
         joined(lines, [](const std::string& line) { return line; }).c_str(),
         joined(run_ms, [](double value) { return json_number(value); }).c_str(),
         json_number(milliseconds(statistics.load_ns)).c_str(),
         json_number(megabytes(statistics.peak_rss_bytes)).c_str(), statistics.threads, kernels_text().c_str());
  return 0;
}

}  // namespace spartan
