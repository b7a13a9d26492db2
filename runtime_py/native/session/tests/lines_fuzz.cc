// What clients of the service send: lines do not depend on how their bytes are cut, and any line is a request or a
// CommandError.
#include <algorithm>
#include <string>
#include <vector>

#include "../src/service/line_buffer.h"
#include "../src/service/request.h"
#include "driver.h"
#include "error.h"
#include "json.h"

namespace {

using spartan::LineBuffer;

void require(bool holds, const char* what) {
  if (!holds) {
    fprintf(stderr, "FAILED: %s\n", what);
    abort();
  }
}

// The lines of `bytes`, handed over as `in` cuts them; `too_long` if they end with one of more than `longest` bytes.
std::vector<std::string> lines_of(const std::string& bytes, size_t longest, fuzz::Bytes& in, bool& too_long) {
  LineBuffer buffer(longest);
  std::vector<std::string> lines;
  for (size_t at = 0; at < bytes.size() && buffer.state() != LineBuffer::State::kTooLong;) {
    const size_t size = std::min<size_t>(in.empty() ? bytes.size() : in.byte() % 40, bytes.size() - at);
    buffer.add(bytes.data() + at, size);
    at += size;
    // Sometimes a line waits while more arrives.
    while (buffer.state() == LineBuffer::State::kLine && in.byte() % 4 != 3) {
      lines.push_back(buffer.take());
    }
  }
  while (buffer.state() == LineBuffer::State::kLine) {
    lines.push_back(buffer.take());
  }
  too_long = buffer.state() == LineBuffer::State::kTooLong;
  return lines;
}

void cut_anyhow(fuzz::Bytes& in) {
  const size_t longest = 1 + in.byte() % 60;
  std::string bytes(in.byte(), '\0');
  for (char& each : bytes) {
    each = in.byte() % 16 == 0 ? '\n' : 'a';
  }
  std::vector<std::string> expected;
  bool expected_too_long = false;
  for (size_t start = 0; start < bytes.size() && !expected_too_long;) {
    const size_t end = std::min(bytes.find('\n', start), bytes.size());
    expected_too_long = end - start > longest;
    if (!expected_too_long && end < bytes.size()) {
      expected.push_back(bytes.substr(start, end - start));
    }
    start = end + 1;
  }
  bool too_long = false;
  require(lines_of(bytes, longest, in, too_long) == expected, "lines depend on how bytes are cut");
  require(too_long == expected_too_long, "a line's length is judged by how bytes are cut");
}

void read_altered(fuzz::Bytes& in) {
  static const char* const kSound[] = {
      R"({"id":7,"task":"three","input_ids":[1,2,3]})", R"({"id":"\u00e9\ud83d\ude00","input_ids":[9007199254740991]})",
      R"({"ask":"status","id":9007199254740991})"};
  std::string line = kSound[in.byte() % 3];
  for (int changes = in.byte() % 4; changes > 0; --changes) {
    const size_t at = in.word() % line.size();
    in.byte() % 2 == 0 ? line.insert(at, 1, static_cast<char>(in.byte())) : line.replace(at, 1, 1, "09[]{}\",:-.e\\u"[in.byte() % 15]);
  }
  spartan::Request request;
  try {
    spartan::read_request(line, request);
  } catch (const spartan::CommandError&) {
    spartan::Json::parse(request.id, "an id");  // it stands in the answer
    return;
  }
  require(request.id != "null", "a request has no id");
  require(request.asks_status == request.input_ids.empty(), "a request asks nothing, or two things");
  require(std::all_of(request.input_ids.begin(), request.input_ids.end(), [](int64_t id) { return id >= 0; }),
          "an id is negative");
  spartan::Json::parse(request.id, "an id");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Bytes in(data, size);
  switch (in.byte() % 3) {
    case 0:
      cut_anyhow(in);
      break;
    case 1:
      read_altered(in);
      break;
    default: {
      spartan::Request request;
      try {
        spartan::read_request({reinterpret_cast<const char*>(data), size}, request);
      } catch (const spartan::CommandError&) {
      }
    }
  }
  return 0;
}
