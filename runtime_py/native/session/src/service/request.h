// One line of the service's protocol (docs/service.md), read and held to its rules.
#ifndef SPARTAN_SESSION_SERVICE_REQUEST_H
#define SPARTAN_SESSION_SERVICE_REQUEST_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spartan {

struct Request {
  std::string id = "null";  // as JSON, to stand in the answer; null until one was read
  bool asks_status = false;
  std::optional<std::string> task;
  std::vector<int64_t> input_ids;
};

// Fills `request` from `line`. CommandError for whatever is no request; `request.id` is then the line's, if it has one.
void read_request(std::string_view line, Request& request);

}  // namespace spartan
#endif
