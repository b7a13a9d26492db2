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
