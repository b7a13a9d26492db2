#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "commands.h"
#include "error.h"
#include "inputs.h"
#include "json.h"
#include "machine.h"
#include "print.h"
#include "program.h"

namespace spartan {

namespace {

// Distribution-free 95% interval of the median, from the binomial's normal approximation; as a share of the median,
// to the wider side.
double median_interval(std::vector<uint64_t> times) {
  std::sort(times.begin(), times.end());
  const auto count = static_cast<double>(times.size());
  const double half = 0.98 * std::sqrt(count);
  const double low = std::max(0.0, std::floor(count / 2 - half));
  const double high = std::min(count - 1, std::ceil(count / 2 + half));
  const auto median = static_cast<double>(times[times.size() / 2]);
  const double below = median - static_cast<double>(times[static_cast<size_t>(low)]);
  const double above = static_cast<double>(times[static_cast<size_t>(high)]) - median;
  return median > 0 ? std::max(below, above) / median : 1.0;
}

constexpr int64_t kDefaultLength = 128;

struct Contender {
  std::string path;
  std::unique_ptr<Program> program;
  std::vector<spartan_tensor> inputs;
  uint64_t load_ns = 0;
  std::vector<uint64_t> warmup_ns;
  std::vector<uint64_t> run_ns;

  uint64_t run_once() {
    program->run(inputs);
    return program->statistics().last_run_ns;
  }

  // Tokens of the longest input, which a bundle may state below what its program takes.
  int64_t longest(const Bundle& bundle) const {
    spartan_tensor_info ids{};
    check(spartan_input_info(program->get(), 0, &ids), "an input has no description");
    const int64_t most = std::max<int64_t>(ids.max_sizes[1], 1);
    const Json* stated = bundle.manifest.find("max_length");
    uint64_t length = 0;
    return stated != nullptr && stated->as_size(&length) ? std::min(most, static_cast<int64_t>(length)) : most;
  }
};

}  // namespace

int bench(const Options& options) {
  if (options.has("--length") && options.has("--ids")) {
    throw CommandError("`--length` and `--ids` do not go together");
  }
  if (options.has("--baseline") && options.has("--profile")) {
    throw CommandError("`--profile` and `--baseline` do not go together");
  }
  const int64_t length = options.whole("--length", 0, 1, 1000000);  // 0: not given
  const int64_t warmup = options.whole("--warmup", 5, 0, 100000);
  const int64_t least = options.whole("--min-runs", 20, 1, 1000000);
  const int64_t most = options.whole("--max-runs", 10000, 1, 1000000);
  const double seconds = options.number("--seconds", 20, 0, 86400);
  const double least_seconds = options.number("--min-seconds", 1, 0, 86400);
  const double precision = options.number("--precision", 0.02, 0, 1);
  std::vector<std::string> paths = {options.bundle};
  if (options.has("--baseline")) {
    paths.push_back(options.text("--baseline"));
  }
  std::vector<Bundle> bundles;
  for (const std::string& path : paths) {
    bundles.push_back(open_bundle(path, options.text("--require-signature")));
  }
  // `--task` is for those of the two that have a shared backbone.
  Options without_task = options;
  without_task.values.erase("--task");
  std::vector<MoreInputs> more;
  for (const Bundle& bundle : bundles) {
    more.emplace_back(bundle, bundles.size() == 1 || is_fleet(bundle) ? options : without_task);
  }
  Row row;
  if (options.has("--ids")) {
    row = read_rows(options.text("--ids"), false, bundles[0]).front();
  }
  for (size_t i = 1; options.has("--ids") && i < bundles.size(); ++i) {
    read_rows(options.text("--ids"), false, bundles[i]);  // its ids are in this vocabulary too
  }
  const MachineState before_load = read_machine_state();
  std::vector<Contender> contenders(paths.size());
  int64_t longest = kDefaultLength;
  for (size_t i = 0; i < paths.size(); ++i) {
    contenders[i].path = paths[i];
    contenders[i].program = std::make_unique<Program>(bundles[i], options);
    contenders[i].load_ns = contenders[i].program->statistics().load_ns;
    longest = std::min(longest, contenders[i].longest(bundles[i]));
  }
  if (!options.has("--ids")) {
    row = row_of_length(bundles[0], static_cast<size_t>(length > 0 ? length : longest));
  }
  for (size_t i = 0; i < contenders.size(); ++i) {
    contenders[i].inputs = inputs_of(row, more[i].tensors());
    // The first run of a loaded program is timed as such, so the probe comes after it: no answer was given yet.
    contenders[i].warmup_ns.push_back(contenders[i].run_once());
    more[i].check_probe(*contenders[i].program, bundles[i]);
  }
  for (int64_t i = 1; i < warmup; ++i) {
    for (Contender& contender : contenders) {
      contender.warmup_ns.push_back(contender.run_once());
    }
  }
  const MachineState before = read_machine_state();
  const auto start = std::chrono::steady_clock::now();
  for (int64_t runs = 0; runs < most; ++runs) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    // Looking at the interval costs a sort, so it is done every tenth run.
    const bool narrow = runs >= least && runs % 10 == 0 && spent.count() >= least_seconds &&
                        std::all_of(contenders.begin(), contenders.end(), [&](const Contender& contender) {
                          return median_interval(contender.run_ns) <= precision;
                        });
    if (narrow || (spent.count() > seconds && runs > 0)) {
      break;
    }
    // A B, then B A: neither always comes second.
    for (size_t i = 0; i < contenders.size(); ++i) {
      Contender& contender = contenders[runs % 2 == 0 ? i : contenders.size() - 1 - i];
      contender.run_ns.push_back(contender.run_once());
    }
  }
  const MachineState after = read_machine_state();
  if (options.has("--profile")) {
    contenders[0].program->write_profile(options.text("--profile"));
  }
  const auto times_text = [](const std::vector<uint64_t>& times) {
    return "[" + joined(times, [](uint64_t value) { return std::to_string(value); }) + "]";
  };
  const spartan_statistics statistics = contenders[0].program->statistics();
  const std::string programs = joined(contenders, [&](const Contender& contender) {
    return "{\"path\":" + json_quote(contender.path) + ",\"load_ns\":" + std::to_string(contender.load_ns) +
           ",\"planned_bytes\":" + std::to_string(contender.program->statistics().planned_bytes) +
           ",\"program_bytes\":" + std::to_string(contender.program->statistics().program_bytes) +
           ",\"warmup_ns\":" + times_text(contender.warmup_ns) + ",\"run_ns\":" + times_text(contender.run_ns) + "}";
  });
  printf("{\"programs\":[%s],\"length\":%zu,\"threads\":%u,\"processors\":%d,\"peak_rss_bytes\":%llu,"
         "\"clock_resolution_ns\":%llu,\"ticks_per_second\":%s,\"before_load\":%s,\"before\":%s,\"after\":%s,\"hardware\":%s,"
         "\"kernels\":%s}\n",
         programs.c_str(), row.ids.size(), statistics.threads, processors(),
         static_cast<unsigned long long>(statistics.peak_rss_bytes),
         static_cast<unsigned long long>(clock_resolution_ns()),
         json_number(ticks_per_second()).c_str(), to_json(before_load).c_str(), to_json(before).c_str(),
         to_json(after).c_str(), hardware_text().c_str(), kernels_text().c_str());
  return 0;
}

}  // namespace spartan
