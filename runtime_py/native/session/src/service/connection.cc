#include "connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace spartan {

namespace {

constexpr size_t kReadAtOnce = 16 << 10;     // bytes
constexpr size_t kMostUnread = 64 << 10;     // bytes of answers; who leaves more unread gets no more

bool is_for_later(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Connection::~Connection() { close(descriptor_); }

bool Connection::wants_input() const {
  return !ended_ && !broken_ && lines_.state() == LineBuffer::State::kPart && output_.size() - sent_ < kMostUnread;
}

bool Connection::has_line() const {
  return !last_ && !broken_ && lines_.state() == LineBuffer::State::kLine && output_.size() - sent_ < kMostUnread;
}

bool Connection::done() const {
  return broken_ || (!wants_output() && (last_ || (ended_ && lines_.state() == LineBuffer::State::kPart)));
}

void Connection::receive(Time now) {
  char bytes[kReadAtOnce];
  while (wants_input()) {
    const ssize_t count = recv(descriptor_, bytes, sizeof bytes, 0);
    if (count < 0) {
      broken_ = !is_for_later(errno);
      return;
    }
    if (count == 0) {
      ended_ = true;
      return;
    }
    const bool begins = !lines_.has_part();
    lines_.add(bytes, static_cast<size_t>(count));
    // Patience with a line counts from its first byte: a byte now and then does not keep it alive.
    if (begins || !lines_.has_part()) {
      moved_ = now;
    }
  }
}

void Connection::send(Time now) {
  while (wants_output()) {
    const ssize_t count = ::send(descriptor_, output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0) {
      broken_ = !is_for_later(errno);
      return;
    }
    sent_ += static_cast<size_t>(count);
    moved_ = now;
  }
  output_.clear();
  sent_ = 0;
}

void Connection::answer(const std::string& line, Time now) {
  if (!wants_output()) {
    moved_ = now;  // patience with a client that does not read begins here
  }
  output_.erase(0, sent_);
  sent_ = 0;
  output_ += line;
  send(now);
}

void Connection::answer_last(const std::string& line, Time now) {
  ended_ = last_ = true;
  answer(line, now);
}

}  // namespace spartan
