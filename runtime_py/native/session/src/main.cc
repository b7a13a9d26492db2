// `spartan`: runs and measures a compiled program on token ids. Needs nothing but the libraries beside it.
//
// Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 it failed while it ran, 2 wrong use or
// input that is unreadable, altered or refused.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "bounds.h"
#include "bundle.h"
#include "error.h"
#include "json.h"
#include "machine.h"
#include "mapped_file.h"
#include "safetensors.h"
#include "spartan/session.h"
#include "task.h"

namespace {

using spartan::Bundle;
using spartan::CommandError;
using spartan::json_number;
using spartan::json_quote;
using spartan::kExitInternal;
using spartan::kExitUsage;
using spartan::Safetensors;
using spartan::TensorView;

constexpr size_t kMessageSize = 1024;
constexpr const char* kUsage = R"(usage:
  spartan run BUNDLE --ids FILE.safetensors [--out FILE.safetensors] [--json] [--keep-padding]
  spartan bench BUNDLE [--baseline BUNDLE] (--length N | --ids FILE.safetensors)
                [--warmup N] [--min-runs N] [--max-runs N] [--min-seconds S] [--seconds S] [--precision P]
  spartan info BUNDLE [--cold]

BUNDLE is a bundle's directory, or a program's file (.pte).

run      answers every row of the file's `input_ids` and `attention_mask` [N, L] int64
  --out FILE         writes the logits [N, C] as safetensors
  --json             prints logits, labels and times as JSON
  --keep-padding     runs rows as they are; without it, positions after the last one of the mask are cut off
bench    measures, and prints every single time as JSON; with --baseline both programs run in turn
  --length N         as many tokens, taken from the bundle's probe again and again
  --ids FILE         the first row of the file
  --warmup N         runs before the measured ones (5)
  --min-runs, --max-runs, --min-seconds, --seconds
                     measured runs: at least (20), at most (10000), for how long at least (1) and at most (20)
  --precision P      stops when the median's 95% interval is within this share of it to both sides (0.02)
info     prints what the program takes and gives, how long checking and loading took, and the kernels that this
         processor gets, as JSON
  --cold             drops the program from the page cache first

all of them:
  --task TASK        (not info) of a bundle with a shared backbone: the task's name, or its file
  --inputs FILE      (not info) tensors of this file follow ids and mask, in the file's order
  --threads N        threads of the pool; one a processor without it
  --weight-cache     XNNPACK shares packed weights between programs
  --profile FILE     (not info) writes the time of every operator (ETDump)
  --require-signature PUB
                     refuses a bundle that is not signed with the other half of this key; needs the system's libcrypto.
                     Without it a signature is not looked at: digests alone guard against accidents, not against people
)";

struct Options {
  std::string command;
  std::string bundle;
  std::map<std::string, std::string> values;

  bool has(const std::string& name) const { return values.count(name) > 0; }
  std::string text(const std::string& name) const {
    const auto found = values.find(name);
    return found == values.end() ? "" : found->second;
  }
  double number(const std::string& name, double otherwise, double least, double most) const {
    if (!has(name)) {
      return otherwise;
    }
    const std::string given = text(name);
    char* end = nullptr;
    const double value = strtod(given.c_str(), &end);
    if (given.empty() || *end != '\0' || !(value >= least && value <= most)) {
      throw CommandError("`" + name + "` must be a number from " + json_number(least) + " to " + json_number(most) +
                         ", got `" + given + "`");
    }
    return value;
  }
  int64_t whole(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const {
    const double value = number(name, static_cast<double>(otherwise), static_cast<double>(least),
                                static_cast<double>(most));
    if (value != std::floor(value)) {
      throw CommandError("`" + name + "` must be a whole number, got `" + text(name) + "`");
    }
    return static_cast<int64_t>(value);
  }
};

Options parse(int argc, char** argv) {
  static const std::map<std::string, std::vector<std::string>> kWithValue = {
      {"run", {"--ids", "--out", "--task", "--inputs", "--threads", "--profile", "--require-signature"}},
      {"bench",
       {"--baseline", "--length", "--ids", "--warmup", "--min-runs", "--max-runs", "--min-seconds", "--seconds", "--precision",
        "--task", "--inputs", "--threads", "--profile", "--require-signature"}},
      {"info", {"--threads", "--require-signature"}},
  };
  static const std::map<std::string, std::vector<std::string>> kPlain = {
      {"run", {"--json", "--keep-padding", "--weight-cache"}}, {"bench", {"--weight-cache"}}, {"info", {"--weight-cache", "--cold"}}};
  Options options;
  if (argc < 2 || kWithValue.count(argv[1]) == 0) {
    throw CommandError(std::string(argc < 2 ? "no command given" : "unknown command `") +
                       (argc < 2 ? "" : std::string(argv[1]) + "`") + "\n" + kUsage);
  }
  options.command = argv[1];
  const auto& with_value = kWithValue.at(options.command);
  const auto& plain = kPlain.at(options.command);
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    const auto among = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), word) != names.end();
    };
    if (among(with_value)) {
      if (++i == argc) {
        throw CommandError("`" + word + "` needs a value");
      }
      options.values[word] = argv[i];
    } else if (among(plain)) {
      options.values[word] = "";
    } else if (word.rfind("--", 0) == 0) {
      throw CommandError("`spartan " + options.command + "` has no option `" + word + "`\n" + kUsage);
    } else if (options.bundle.empty()) {
      options.bundle = word;
    } else {
      throw CommandError("one bundle at a time: `" + word + "` is too much");
    }
  }
  if (options.bundle.empty()) {
    throw CommandError(std::string("no bundle given\n") + kUsage);
  }
  return options;
}

int exit_code_of(int32_t status) {
  const bool users = status == SPARTAN_BAD_ARGUMENT || status == SPARTAN_BAD_FILE || status == SPARTAN_BAD_PROGRAM ||
                     status == SPARTAN_BAD_INPUT;
  return users ? kExitUsage : kExitInternal;
}

void check(int32_t status, const char* message) {
  if (status != SPARTAN_OK) {
    throw CommandError(message, exit_code_of(status));
  }
}

// What the manifest says of the inputs, where there is one, the session holds them to.
class Session {
 public:
  Session(const Bundle& bundle, const Options& options) {
    spartan_options chosen{};
    chosen.struct_size = sizeof chosen;
    chosen.threads = static_cast<int32_t>(options.whole("--threads", 0, 1, 256));
    chosen.weight_cache = options.has("--weight-cache") ? 1 : 0;
    chosen.profile = options.has("--profile") ? 1 : 0;
    char message[kMessageSize];
    spartan_session* opened = nullptr;
    check(spartan_open(bundle.program.c_str(), &chosen, &opened, message, sizeof message), message);
    session_.reset(opened);
    spartan::narrow_inputs(opened, bundle.manifest);
  }

  spartan_session* get() const { return session_.get(); }

  void run(const std::vector<spartan_tensor>& inputs) {
    char message[kMessageSize];
    check(spartan_run(session_.get(), inputs.data(), inputs.size(), message, sizeof message), message);
  }

  // The first output, flat.
  std::vector<float> logits() const {
    spartan_tensor output{};
    check(spartan_output(session_.get(), 0, &output), "the program has no output");
    if (output.dtype != SPARTAN_FLOAT32) {
      throw CommandError("the program's first output is not float32");
    }
    const auto* values = static_cast<const float*>(output.data);
    return std::vector<float>(values, values + output.bytes / sizeof(float));
  }

  spartan_statistics statistics() const {
    spartan_statistics all{};
    all.struct_size = sizeof all;
    check(spartan_statistics_of(session_.get(), &all), "no statistics");
    return all;
  }

  void write_profile(const std::string& path) {
    char message[kMessageSize];
    const void* data = nullptr;
    size_t bytes = 0;
    check(spartan_profile(session_.get(), &data, &bytes, message, sizeof message), message);
    spartan::write_whole(path, data, bytes);
  }

 private:
  struct Close {
    void operator()(spartan_session* session) const { spartan_close(session); }
  };
  std::unique_ptr<spartan_session, Close> session_;
};

// One row of ids with its mask.
struct Row {
  std::vector<int64_t> ids;
  std::vector<int64_t> mask;
};

std::vector<int64_t> int64_values(const TensorView& tensor) {
  if (tensor.dtype != "I64" || tensor.shape.size() != 2) {
    throw CommandError("`" + tensor.name + "` must be int64 [N, L]");
  }
  std::vector<int64_t> values(tensor.bytes / sizeof(int64_t));
  if (!values.empty()) {
    memcpy(values.data(), tensor.data, tensor.bytes);
  }
  return values;
}

std::vector<Row> read_rows(const std::string& path, bool keep_padding) {
  const Safetensors file(path);
  const TensorView& ids = file.get("input_ids");
  const TensorView& mask = file.get("attention_mask");
  if (ids.shape != mask.shape) {
    throw CommandError("`" + path + "`: `input_ids` and `attention_mask` must have one shape");
  }
  const std::vector<int64_t> all_ids = int64_values(ids);
  const std::vector<int64_t> all_masks = int64_values(mask);
  if (all_ids.empty()) {
    throw CommandError("`" + path + "` holds no tokens");
  }
  const auto length = static_cast<size_t>(ids.shape[1]);
  std::vector<Row> rows;
  for (size_t start = 0; start < all_ids.size(); start += length) {
    size_t kept = length;
    if (!keep_padding) {
      while (kept > 0 && all_masks[start + kept - 1] == 0) {
        --kept;
      }
      if (kept == 0) {
        throw CommandError("`" + path + "`: row " + std::to_string(rows.size() + 1) + " has an empty mask");
      }
    }
    const auto ids_at = all_ids.begin() + static_cast<std::ptrdiff_t>(start);
    const auto mask_at = all_masks.begin() + static_cast<std::ptrdiff_t>(start);
    rows.push_back({{ids_at, ids_at + static_cast<std::ptrdiff_t>(kept)},
                    {mask_at, mask_at + static_cast<std::ptrdiff_t>(kept)}});
  }
  return rows;
}

spartan_tensor row_tensor(const std::vector<int64_t>& values) {
  spartan_tensor tensor{};
  tensor.dtype = SPARTAN_INT64;
  tensor.rank = 2;
  tensor.sizes[0] = 1;
  tensor.sizes[1] = static_cast<int64_t>(values.size());
  tensor.data = values.data();
  tensor.bytes = values.size() * sizeof(int64_t);
  return tensor;
}

// Tensors that follow ids and mask, mapped from their file; one that stands at an odd address is copied.
class ExtraInputs {
 public:
  explicit ExtraInputs(const std::string& path) {
    if (path.empty()) {
      return;
    }
    file_ = std::make_unique<Safetensors>(path);
    for (const TensorView& view : file_->tensors()) {
      if (view.shape.size() > SPARTAN_MAX_RANK) {
        throw CommandError("`" + path + "`: tensor `" + view.name + "` has too many dimensions");
      }
      spartan_tensor tensor{};
      tensor.dtype = spartan::dtype_of(view.dtype);
      tensor.rank = static_cast<int32_t>(view.shape.size());
      std::copy(view.shape.begin(), view.shape.end(), tensor.sizes);
      tensor.data = view.data;
      tensor.bytes = view.bytes;
      if (reinterpret_cast<uintptr_t>(view.data) % 8 != 0) {
        copies_.push_back(std::make_unique<std::vector<uint64_t>>((view.bytes + 7) / 8));
        if (view.bytes > 0) {
          memcpy(copies_.back()->data(), view.data, view.bytes);
        }
        tensor.data = copies_.back()->data();
      }
      tensors_.push_back(tensor);
    }
  }

  const std::vector<spartan_tensor>& tensors() const { return tensors_; }
  bool given() const { return file_ != nullptr; }

 private:
  std::unique_ptr<Safetensors> file_;
  std::vector<std::unique_ptr<std::vector<uint64_t>>> copies_;
  std::vector<spartan_tensor> tensors_;
};

std::vector<spartan_tensor> inputs_of(const Row& row, const std::vector<spartan_tensor>& more) {
  std::vector<spartan_tensor> inputs = {row_tensor(row.ids), row_tensor(row.mask)};
  inputs.insert(inputs.end(), more.begin(), more.end());
  return inputs;
}

// What follows ids and mask: the tensors of a task, or of the file that `--inputs` names.
class MoreInputs {
 public:
  MoreInputs(const Bundle& bundle, const Options& options) : extra_(options.text("--inputs")) {
    if (options.has("--task")) {
      if (options.has("--inputs")) {
        throw CommandError("`--task` and `--inputs` do not go together");
      }
      task_ = std::make_unique<spartan::Task>(bundle, options.text("--task"));
    } else if (spartan::is_fleet(bundle) && !options.has("--inputs")) {
      throw CommandError("the bundle has a shared backbone: name the task with `--task`");
    }
  }

  const std::vector<spartan_tensor>& tensors() const { return task_ ? task_->tensors() : extra_.tensors(); }
  const std::vector<std::string>& labels(const Bundle& bundle) const { return task_ ? task_->labels() : bundle.labels; }

  // A bundle, or a task, answers only after its probe gave what it should.
  void check_probe(Session& session, const Bundle& bundle) const {
    if (!task_ && (!bundle.probe || extra_.given())) {
      return;
    }
    const spartan::Probe& probe = task_ ? task_->probe() : *bundle.probe;
    try {
      session.run(inputs_of({probe.ids(), probe.mask()}, tensors()));
    } catch (const CommandError& error) {
      throw CommandError(std::string("the probe cannot be run: ") + error.what());
    }
    probe.check(session.logits());
  }

 private:
  ExtraInputs extra_;
  std::unique_ptr<spartan::Task> task_;
};

template <typename Values, typename Text>
std::string joined(const Values& values, Text&& text) {
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) {
    out += (i > 0 ? "," : "") + text(values[i]);
  }
  return out;
}

double milliseconds(uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e6; }
double megabytes(uint64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

std::string kernels_text() {
  std::string out;
  const char* family = nullptr;
  for (size_t i = 0; const char* kernel = spartan_kernel(i, &family); ++i) {
    out += (i > 0 ? "," : "") + json_quote(family) + ":" + json_quote(kernel);
  }
  return "{" + out + "}";
}

int run(const Options& options) {
  if (!options.has("--ids")) {
    throw CommandError("`spartan run` needs `--ids FILE.safetensors`");
  }
  const Bundle bundle = spartan::open_bundle(options.bundle, options.text("--require-signature"));
  const std::vector<Row> rows = read_rows(options.text("--ids"), options.has("--keep-padding"));
  const MoreInputs more(bundle, options);
  Session session(bundle, options);
  more.check_probe(session, bundle);
  std::vector<float> logits;
  std::vector<double> run_ms;
  size_t classes = 0;
  for (const Row& row : rows) {
    session.run(inputs_of(row, more.tensors()));
    run_ms.push_back(milliseconds(session.statistics().last_run_ns));
    const std::vector<float> result = session.logits();
    if (result.empty() || (classes != 0 && result.size() != classes)) {
      throw CommandError("the program gave " + std::to_string(result.size()) + " logits", kExitInternal);
    }
    classes = result.size();
    logits.insert(logits.end(), result.begin(), result.end());
  }
  if (options.has("--out")) {
    spartan::write_float_matrix(options.text("--out"), "logits", logits, rows.size(), classes);
  }
  if (options.has("--profile")) {
    session.write_profile(options.text("--profile"));
  }
  std::vector<std::string> lines;
  for (size_t row = 0; row < rows.size(); ++row) {
    const float* of_row = logits.data() + row * classes;
    const auto best = static_cast<size_t>(std::max_element(of_row, of_row + classes) - of_row);
    const std::vector<float> values(of_row, of_row + classes);
    const std::vector<std::string>& labels = more.labels(bundle);
    const std::string label = labels.size() == classes ? json_quote(labels[best]) : std::to_string(best);
    lines.push_back(classes == 1 ? "{\"logits\":[" + json_number(values[0]) + "]}"
                                 : "{\"label\":" + label + ",\"logits\":[" +
                                       joined(values, [](float value) { return json_number(value); }) + "]}");
  }
  if (!options.has("--json")) {
    for (const std::string& line : lines) {
      printf("%s\n", line.c_str());
    }
    return 0;
  }
  const spartan_statistics statistics = session.statistics();
  printf("{\"rows\":[%s],\"run_ms\":[%s],\"load_ms\":%s,\"peak_rss_mb\":%s,\"threads\":%u,\"kernels\":%s}\n",
         joined(lines, [](const std::string& line) { return line; }).c_str(),
         joined(run_ms, [](double value) { return json_number(value); }).c_str(),
         json_number(milliseconds(statistics.load_ns)).c_str(),
         json_number(megabytes(statistics.peak_rss_bytes)).c_str(), statistics.threads, kernels_text().c_str());
  return 0;
}

// `length` tokens out of the bundle's probe, again and again; ids 1 to 16 where there is no probe.
Row row_of_length(const Bundle& bundle, size_t length) {
  std::vector<int64_t> pattern;
  const spartan::Json* probe = bundle.manifest.find("probe");
  const spartan::Json* ids = probe == nullptr ? nullptr : probe->find("input_ids");
  const std::function<void(const spartan::Json&)> collect = [&](const spartan::Json& value) {
    uint64_t id = 0;
    if (value.as_size(&id)) {
      pattern.push_back(static_cast<int64_t>(id));
    }
    for (const spartan::Json& item : value.items()) {
      collect(item);
    }
  };
  if (ids != nullptr) {
    collect(*ids);
  }
  for (int64_t id = 1; pattern.size() < 2 && id <= 16; ++id) {
    pattern.push_back(id);
  }
  Row row;
  for (size_t i = 0; i < length; ++i) {
    row.ids.push_back(pattern[i % pattern.size()]);
  }
  row.mask.assign(length, 1);
  return row;
}

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

struct Contender {
  std::string path;
  std::unique_ptr<Session> session;
  std::vector<spartan_tensor> inputs;
  uint64_t load_ns = 0;
  std::vector<uint64_t> warmup_ns;
  std::vector<uint64_t> run_ns;

  uint64_t run_once() {
    session->run(inputs);
    return session->statistics().last_run_ns;
  }
};

int bench(const Options& options) {
  if (options.has("--length") == options.has("--ids")) {
    throw CommandError("`spartan bench` needs either `--length N` or `--ids FILE.safetensors`");
  }
  if (options.has("--baseline") && options.has("--profile")) {
    throw CommandError("`--profile` and `--baseline` do not go together");
  }
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
    bundles.push_back(spartan::open_bundle(path, options.text("--require-signature")));
  }
  // `--task` is for those of the two that have a shared backbone.
  Options without_task = options;
  without_task.values.erase("--task");
  std::vector<MoreInputs> more;
  for (const Bundle& bundle : bundles) {
    more.emplace_back(bundle, bundles.size() == 1 || spartan::is_fleet(bundle) ? options : without_task);
  }
  const Row row = options.has("--ids")
                      ? read_rows(options.text("--ids"), false).front()
                      : row_of_length(bundles[0], static_cast<size_t>(options.whole("--length", 0, 1, 1000000)));
  const spartan::MachineState before_load = spartan::read_machine_state();
  std::vector<Contender> contenders(paths.size());
  for (size_t i = 0; i < paths.size(); ++i) {
    contenders[i].path = paths[i];
    contenders[i].session = std::make_unique<Session>(bundles[i], options);
    contenders[i].load_ns = contenders[i].session->statistics().load_ns;
    more[i].check_probe(*contenders[i].session, bundles[i]);
    contenders[i].inputs = inputs_of(row, more[i].tensors());
  }
  for (int64_t i = 0; i < std::max<int64_t>(warmup, 1); ++i) {
    for (Contender& contender : contenders) {
      contender.warmup_ns.push_back(contender.run_once());
    }
  }
  const spartan::MachineState before = spartan::read_machine_state();
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
  const spartan::MachineState after = spartan::read_machine_state();
  if (options.has("--profile")) {
    contenders[0].session->write_profile(options.text("--profile"));
  }
  const auto times_text = [](const std::vector<uint64_t>& times) {
    return "[" + joined(times, [](uint64_t value) { return std::to_string(value); }) + "]";
  };
  const spartan_statistics statistics = contenders[0].session->statistics();
  const std::string programs = joined(contenders, [&](const Contender& contender) {
    return "{\"path\":" + json_quote(contender.path) + ",\"load_ns\":" + std::to_string(contender.load_ns) +
           ",\"planned_bytes\":" + std::to_string(contender.session->statistics().planned_bytes) +
           ",\"program_bytes\":" + std::to_string(contender.session->statistics().program_bytes) +
           ",\"warmup_ns\":" + times_text(contender.warmup_ns) + ",\"run_ns\":" + times_text(contender.run_ns) + "}";
  });
  printf("{\"programs\":[%s],\"length\":%zu,\"threads\":%u,\"processors\":%d,\"peak_rss_bytes\":%llu,"
         "\"clock_resolution_ns\":%llu,\"ticks_per_second\":%s,\"before_load\":%s,\"before\":%s,\"after\":%s,\"kernels\":%s}\n",
         programs.c_str(), row.ids.size(), statistics.threads, spartan::processors(),
         static_cast<unsigned long long>(statistics.peak_rss_bytes),
         static_cast<unsigned long long>(spartan::clock_resolution_ns()),
         json_number(spartan::ticks_per_second()).c_str(), to_json(before_load).c_str(), to_json(before).c_str(),
         to_json(after).c_str(), kernels_text().c_str());
  return 0;
}

std::string info_text(const spartan_tensor_info& info) {
  static const char* const kNames[] = {"float32", "int64", "int32", "int8", "uint8", "bool", "float16"};
  std::string sizes;
  for (int32_t d = 0; d < info.rank; ++d) {
    sizes += std::string(d > 0 ? "," : "") + "[" + std::to_string(info.min_sizes[d]) + "," +
             std::to_string(info.max_sizes[d]) + "]";
  }
  const std::string name = info.dtype >= 0 && info.dtype <= SPARTAN_FLOAT16 ? kNames[info.dtype] : "other";
  return "{\"dtype\":" + json_quote(name) + ",\"sizes\":[" + sizes + "]}";
}

int info(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  const Bundle bundle = spartan::open_bundle(options.bundle, options.text("--require-signature"));
  const std::chrono::duration<double, std::milli> checked = std::chrono::steady_clock::now() - start;
  if (options.has("--cold")) {
    spartan::drop_from_page_cache(bundle.program);
  }
  const Session session(bundle, options);
  std::vector<spartan_tensor_info> inputs(spartan_input_count(session.get()));
  std::vector<spartan_tensor_info> outputs(spartan_output_count(session.get()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(spartan_input_info(session.get(), i, &inputs[i]), "an input has no description");
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    check(spartan_output_info(session.get(), i, &outputs[i]), "an output has no description");
  }
  const spartan_statistics statistics = session.statistics();
  printf("{\"inputs\":[%s],\"outputs\":[%s],\"program_bytes\":%llu,\"planned_bytes\":%llu,\"load_ms\":%s,"
         "\"peak_rss_mb\":%s,\"threads\":%u,\"check_ms\":%s,\"kernels\":%s,"
         "\"signature\":\"%s\"}\n",
         joined(inputs, info_text).c_str(), joined(outputs, info_text).c_str(),
         static_cast<unsigned long long>(statistics.program_bytes),
         static_cast<unsigned long long>(statistics.planned_bytes),
         json_number(milliseconds(statistics.load_ns)).c_str(), json_number(megabytes(statistics.peak_rss_bytes)).c_str(),
         statistics.threads, json_number(checked.count()).c_str(), kernels_text().c_str(),
         bundle.signature_checked ? "good" : bundle.has_signature ? "not checked" : "none");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
    fputs(kUsage, stdout);
    return 0;
  }
  try {
    const Options options = parse(argc, argv);
    const int code = options.command == "run" ? run(options) : options.command == "bench" ? bench(options) : info(options);
    if (fflush(stdout) != 0) {
      throw CommandError("the result could not be written", kExitInternal);
    }
    return code;
  } catch (const CommandError& error) {
    fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code;
  } catch (const std::bad_alloc&) {
    fputs("error: out of memory\n", stderr);
    return kExitInternal;
  } catch (const std::exception& error) {
    fprintf(stderr, "error: %s\n", error.what());
    return kExitInternal;
  }
}
