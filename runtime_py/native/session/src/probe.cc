#include "probe.h"

#include <cmath>
#include <cstdio>

#include "error.h"

namespace spartan {

namespace {

constexpr size_t kLongest = 1 << 16;
constexpr const char* kMembers[] = {"input_ids", "attention_mask", "logits", "tolerance"};

// The row called `key`: [[…]].
const std::vector<Json>& row(const Json& probe, const char* key, const std::string& what) {
  const Json& rows = *probe.find(key);
  if (!rows.is_array() || rows.items().size() != 1 || !rows.items()[0].is_array() ||
      rows.items()[0].items().size() > kLongest) {
    throw CommandError(what + " has a probe without one row of `" + key + "`");
  }
  return rows.items()[0].items();
}

std::vector<int64_t> whole_numbers(const std::vector<Json>& row, const std::string& what) {
  std::vector<int64_t> values;
  for (const Json& each : row) {
    uint64_t value = 0;
    if (!each.as_size(&value) || value > INT32_MAX) {
      throw CommandError(what + " has a probe whose ids or mask are no whole numbers");
    }
    values.push_back(static_cast<int64_t>(value));
  }
  return values;
}

}  // namespace

Probe::Probe(const Json& value, uint64_t classes, const std::string& what) : what_(what) {
  bool all = value.is_object() && value.members().size() == std::size(kMembers);
  for (const char* name : kMembers) {
    all = all && value.find(name) != nullptr;
  }
  if (!all) {
    throw CommandError(what + " has a probe that does not hold exactly input_ids, attention_mask, logits, tolerance");
  }
  ids_ = whole_numbers(row(value, "input_ids", what), what);
  mask_ = whole_numbers(row(value, "attention_mask", what), what);
  for (const Json& logit : row(value, "logits", what)) {
    if (logit.kind() != Json::Kind::kNumber || !(std::fabs(logit.number()) < 1e30)) {
      throw CommandError(what + " has a probe whose logits are no numbers");
    }
    logits_.push_back(static_cast<float>(logit.number()));
  }
  const Json& tolerance = *value.find("tolerance");
  tolerance_ = tolerance.number();
  if (ids_.empty() || ids_.size() != mask_.size() || logits_.size() != classes ||
      tolerance.kind() != Json::Kind::kNumber || !(tolerance_ >= 0 && tolerance_ < 1e300)) {
    throw CommandError(what + " has a probe that is not one row of ids, its mask, a logit for every class and a "
                              "tolerance");
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
