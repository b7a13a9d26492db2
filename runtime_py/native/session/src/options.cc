#include "options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "error.h"
#include "json.h"

namespace spartan {

const char* const kUsage = R"(usage:
  spartan run BUNDLE --ids FILE.safetensors [--out FILE.safetensors] [--json] [--keep-padding]
  spartan bench BUNDLE [--baseline BUNDLE] [--length N | --ids FILE.safetensors]
                [--warmup N] [--min-runs N] [--max-runs N] [--min-seconds S] [--seconds S] [--precision P]
  spartan info BUNDLE [--cold]
  spartan check BUNDLE [--task TASK]
  spartan serve BUNDLE --socket PATH [--patience S]

BUNDLE is a bundle's directory, or a program's file (.pte).

run      answers every row of the file's `input_ids` and `attention_mask` [N, L] int64
  --out FILE         writes the logits [N, C] as safetensors
  --json             prints logits, labels and times as JSON
  --keep-padding     runs rows as they are; without it, positions after the last one of the mask are cut off
bench    measures, and prints every single time as JSON; with --baseline both programs run in turn
  --length N         as many tokens, taken from the bundle's probe again and again (128, or the longest input if that is
                     less)
  --ids FILE         the first row of the file
  --warmup N         runs before the measured ones (5)
  --min-runs, --max-runs, --min-seconds, --seconds
                     measured runs: at least (20), at most (10000), for how long at least (1) and at most (20)
  --precision P      stops when the median's 95% interval is within this share of it to both sides (0.02)
info     prints what the program takes and gives, how long checking and loading took, and the kernels that this
         processor gets, as JSON
  --cold             drops the program from the page cache first
check    checks a bundle, or with --task a task of it, without loading the program, and prints what it is as JSON; of the
         options below it takes --task and --require-signature
serve    answers lines of JSON on a Unix socket until SIGTERM (docs/service.md); of the options below it takes --threads,
         --weight-cache and --require-signature
  --socket PATH      the socket's file; that of a dead server is replaced
  --patience S       seconds that a client may leave a line unfinished, or an answer unread (30)

all of them:
  --task TASK        (not info, serve) of a bundle with a shared backbone: the task's name, or its file
  --inputs FILE      (not info, serve) tensors of this file follow ids and mask, in the file's order
  --threads N        threads of the pool; one a processor without it
  --weight-cache     XNNPACK shares packed weights between programs
  --profile FILE     (not info, serve) writes the time of every operator (ETDump)
  --require-signature PUB
                     refuses a bundle that is not signed with the other half of this key; needs the system's libcrypto.
                     Without it a signature is not looked at: digests alone guard against accidents, not against people
)";

std::string Options::text(const std::string& name) const {
  const auto found = values.find(name);
  return found == values.end() ? "" : found->second;
}

double Options::number(const std::string& name, double otherwise, double least, double most) const {
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

int64_t Options::whole(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const {
  const double value = number(name, static_cast<double>(otherwise), static_cast<double>(least),
                              static_cast<double>(most));
  if (value != std::floor(value)) {
    throw CommandError("`" + name + "` must be a whole number, got `" + text(name) + "`");
  }
  return static_cast<int64_t>(value);
}

Options parse_options(int argc, char** argv) {
  static const std::map<std::string, std::vector<std::string>> kWithValue = {
      {"run", {"--ids", "--out", "--task", "--inputs", "--threads", "--profile", "--require-signature"}},
      {"bench",
       {"--baseline", "--length", "--ids", "--warmup", "--min-runs", "--max-runs", "--min-seconds", "--seconds", "--precision",
        "--task", "--inputs", "--threads", "--profile", "--require-signature"}},
      {"info", {"--threads", "--require-signature"}},
      {"check", {"--task", "--require-signature"}},
      {"serve", {"--socket", "--patience", "--threads", "--require-signature"}},
  };
  static const std::map<std::string, std::vector<std::string>> kPlain = {
      {"run", {"--json", "--keep-padding", "--weight-cache"}},
      {"bench", {"--weight-cache"}},
      {"info", {"--weight-cache", "--cold"}},
      {"check", {}},
      {"serve", {"--weight-cache"}}};
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

}  // namespace spartan
