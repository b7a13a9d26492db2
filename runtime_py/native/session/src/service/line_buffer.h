// Bytes as they arrive from a client, cut into lines. No input and output of its own.
#ifndef SPARTAN_SESSION_SERVICE_LINE_BUFFER_H
#define SPARTAN_SESSION_SERVICE_LINE_BUFFER_H

#include <cstddef>
#include <string>

namespace spartan {

constexpr size_t kLongestLine = 1 << 20;  // bytes, its line feed not counted

class LineBuffer {
 public:
  enum class State {
    kPart,     // no whole line is here
    kLine,     // `take` gives one
    kTooLong,  // the next line has more bytes than it may; where it ends does not matter
  };

  explicit LineBuffer(size_t longest = kLongestLine) : longest_(longest) {}

  void add(const char* data, size_t size);
  State state() const { return state_; }
  // Whether bytes of a line are here that has not ended.
  bool has_part() const { return state_ == State::kPart && start_ < bytes_.size(); }
  // The next line without its line feed; only in the state kLine.
  std::string take();

 private:
  void look();

  size_t longest_;
  std::string bytes_;
  size_t start_ = 0;   // of the next line
  size_t looked_ = 0;  // up to here there is no line feed after `start_`, but for the one at `looked_` itself
  State state_ = State::kPart;
};

}  // namespace spartan
#endif
