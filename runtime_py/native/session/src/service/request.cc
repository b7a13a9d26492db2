#include "request.h"

#include "error.h"
#include "json.h"

namespace spartan {

namespace {

constexpr size_t kLongestId = 256;               // bytes
constexpr size_t kMostValues = (1 << 16) + 64;   // the longest input of any bundle, and what stands around it

bool read_id(const Json* id, std::string& text) {
  uint64_t number = 0;
  if (id == nullptr || (!id->is_text() && !id->as_count(&number)) || id->string().size() > kLongestId) {
    return false;
  }
  text = id->is_text() ? json_quote(id->string()) : std::to_string(number);
  return true;
}

std::vector<int64_t> read_ids(const Json& given) {
  std::vector<int64_t> ids;
  for (const Json& item : given.items()) {
    uint64_t id = 0;
    if (!item.as_count(&id)) {
      throw CommandError("`input_ids` at position " + std::to_string(ids.size() + 1) + " is no whole number from 0 on");
    }
    ids.push_back(static_cast<int64_t>(id));
  }
  if (ids.empty()) {
    throw CommandError("`input_ids` must be a list of one id at least");
  }
  return ids;
}

}  // namespace

void read_request(std::string_view line, Request& request) {
  const Json json = Json::parse(line, "the line", kMostValues);
  if (!json.is_object()) {
    throw CommandError("the line is not a JSON object");
  }
  if (!read_id(json.find("id"), request.id)) {
    throw CommandError("`id` must be a whole number from 0 on, or a text of at most " + std::to_string(kLongestId) + " bytes");
  }
  for (const auto& [name, value] : json.members()) {
    if (name == "id") {
      continue;
    } else if (name == "ask") {
      if (!value.is_string() || value.string() != "status") {
        throw CommandError("`ask` must be `status`");
      }
      request.asks_status = true;
    } else if (name == "task") {
      if (!value.is_text()) {
        throw CommandError("`task` must be a text");
      }
      request.task = value.string();
    } else if (name == "input_ids") {
      request.input_ids = read_ids(value);
    } else if (name == "text" || name == "text_pair") {
      throw CommandError("this server takes `input_ids`; `runtime/run.py serve` takes texts");
    } else {
      throw CommandError("a request has no member `" + name + "`");
    }
  }
  if (request.asks_status && (request.task || !request.input_ids.empty())) {
    throw CommandError("`ask` goes with nothing but an `id`");
  }
  if (!request.asks_status && request.input_ids.empty()) {
    throw CommandError("a request needs `input_ids`");
  }
}

}  // namespace spartan
