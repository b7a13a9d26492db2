#include "line_buffer.h"

#include <cstring>

namespace spartan {

void LineBuffer::add(const char* data, size_t size) {
  if (start_ > 0) {  // what was taken goes first: the buffer never holds more than lines that nobody has taken
    bytes_.erase(0, start_);
    looked_ -= start_;
    start_ = 0;
  }
  bytes_.append(data, size);
  if (state_ == State::kPart) {
    look();
  }
}

std::string LineBuffer::take() {
  std::string line = bytes_.substr(start_, looked_ - start_);
  start_ = ++looked_;
  if (start_ == bytes_.size()) {  // a long line's memory is not kept
    bytes_ = std::string();
    start_ = looked_ = 0;
  }
  look();
  return line;
}

void LineBuffer::look() {
  const void* end = looked_ < bytes_.size() ? memchr(bytes_.data() + looked_, '\n', bytes_.size() - looked_) : nullptr;
  looked_ = end == nullptr ? bytes_.size() : static_cast<size_t>(static_cast<const char*>(end) - bytes_.data());
  state_ = looked_ - start_ > longest_ ? State::kTooLong : end == nullptr ? State::kPart : State::kLine;
}

}  // namespace spartan
