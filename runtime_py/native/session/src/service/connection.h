// One client: lines that come, answers that go, and since when nothing of either has moved.
#ifndef SPARTAN_SESSION_SERVICE_CONNECTION_H
#define SPARTAN_SESSION_SERVICE_CONNECTION_H

#include <chrono>
#include <string>

#include "line_buffer.h"

namespace spartan {

using Time = std::chrono::steady_clock::time_point;  // a connection's stands still while the server computes

class Connection {
 public:
  // Takes over a socket that does not block.
  Connection(int descriptor, Time now) : descriptor_(descriptor), moved_(now) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int descriptor() const { return descriptor_; }

  // Whether more input is of use: no whole line waits, and the client reads what it is answered.
  bool wants_input() const;
  bool wants_output() const { return sent_ < output_.size(); }
  // Whether a line waits, and there is room for its answer.
  bool has_line() const;
  bool has_too_long_line() const { return !last_ && lines_.state() == LineBuffer::State::kTooLong; }
  bool has_part() const { return !last_ && lines_.has_part(); }
  // Whether the client has sent all that it will.
  bool ended() const { return ended_; }
  // Whether nothing is left to do.
  bool done() const;
  Time moved() const { return moved_; }

  std::string take_line() { return lines_.take(); }
  // Reads what is there, up to the end of a line: what the client sent at once waits for no further turn.
  void receive(Time now);
  void send(Time now);
  // `line` has its line feed. It goes out as far as the client takes it, the rest later.
  void answer(const std::string& line, Time now);
  // The last answer: nothing is read after it.
  void answer_last(const std::string& line, Time now);
  // Reads no more; lines that are here are still answered.
  void end_input() { ended_ = true; }
  // Nothing more goes either way.
  void hang_up() { broken_ = true; }

 private:
  int descriptor_;
  LineBuffer lines_;
  std::string output_;
  size_t sent_ = 0;
  bool ended_ = false;
  bool last_ = false;
  bool broken_ = false;
  Time moved_;
};

}  // namespace spartan
#endif
