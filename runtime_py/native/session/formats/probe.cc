#include "probe.h"

#include <cmath>
#include <cstdio>

#include "error.h"

namespace spartan {

namespace {

constexpr uint64_t kLargestId = INT32_MAX;
constexpr const char* kMembers[] = {"input_ids", "attention_mask", "logits", "tolerance"};

// The row called `key`: [[…]].
const std::vector<Json>& row(const Json& probe, const char* key, const std::string& what) {
  const Json* rows = probe.find(key);
  if (rows == nullptr || rows->items().size() != 1 || !rows->items()[0].is_array()) {
    throw CommandError(what + " has a `probe` without one row of `" + key + "`");
  }
  return rows->items()[0].items();
}

std::vector<int64_t> counts(const Json& probe, const char* key, uint64_t most, const std::string& what) {
  std::vector<int64_t> values;
  for (const Json& each : row(probe, key, what)) {
    uint64_t value = 0;
    if (!each.as_count(&value, 0, most)) {
      throw CommandError(what + " has a `probe` whose `" + key + "` are not whole numbers from 0 to " +
                         std::to_string(most));
    }
    values.push_back(static_cast<int64_t>(value));
  }
  return values;
}

void read_input(const Json& probe, uint64_t max_length, const std::string& what, std::vector<int64_t>* ids,
                std::vector<int64_t>* mask) {
  *ids = counts(probe, "input_ids", kLargestId, what);
  *mask = counts(probe, "attention_mask", 1, what);
  if (ids->empty() || ids->size() > max_length || ids->size() != mask->size()) {
    throw CommandError(what + " has a `probe` of " + std::to_string(ids->size()) + " ids and " +
                       std::to_string(mask->size()) + " mask values, allowed are as many as ids, from 1 to " +
                       std::to_string(max_length));
  }
}

}  // namespace

void Probe::check_input(const Json& value, uint64_t max_length, const std::string& what) {
  std::vector<int64_t> ids;
  std::vector<int64_t> mask;
  read_input(value, max_length, what, &ids, &mask);
}

Probe::Probe(const Json& value, uint64_t classes, uint64_t max_length, const std::string& what) : what_(what) {
  bool all = value.is_object() && value.members().size() == std::size(kMembers);
  for (const char* name : kMembers) {
    all = all && value.find(name) != nullptr;
  }
  if (!all) {
    throw CommandError(what + " has a `probe` that does not hold exactly input_ids, attention_mask, logits, tolerance");
  }
  read_input(value, max_length, what, &ids_, &mask_);
  for (const Json& logit : row(value, "logits", what)) {
    if (!logit.is_number() || !(std::fabs(logit.number()) < 1e30)) {
      throw CommandError(what + " has a `probe` whose logits are not numbers");
    }
    logits_.push_back(static_cast<float>(logit.number()));
  }
  if (logits_.size() != classes) {
    throw CommandError(what + " has a `probe` of " + std::to_string(logits_.size()) + " logits for " +
                       std::to_string(classes) + " classes");
  }
  const Json& tolerance = *value.find("tolerance");
  tolerance_ = tolerance.number();
  if (!tolerance.is_number() || tolerance_ < 0) {
    throw CommandError(what + " has a `probe` whose tolerance is not a number from 0");
  }
}

namespace {

// The first few, to four digits.
std::string rounded(const std::vector<float>& values) {
  constexpr size_t kShown = 6;
  std::string out;
  for (size_t i = 0; i < values.size() && i < kShown; ++i) {
    char text[32];
    snprintf(text, sizeof text, "%s%.4g", i > 0 ? ", " : "", static_cast<double>(values[i]));
    out += text;
  }
  return values.size() > kShown ? out + ", …" : out;
}

}  // namespace

void Probe::check(const std::vector<float>& logits) const {
  double largest = logits.size() == logits_.size() ? 0 : INFINITY;
  for (size_t i = 0; i < logits.size() && i < logits_.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(logits[i]) - logits_[i]);
    largest = difference <= largest ? largest : difference;  // NaN comes through
  }
  if (!(largest <= tolerance_)) {
    throw CommandError(what_ + ": its probe gives the logits `" + rounded(logits) + "`, expected `" + rounded(logits_) +
                       "` to within " + json_number(tolerance_) +
                       "; it does not have the effect that it was written with");
  }
}

}  // namespace spartan
