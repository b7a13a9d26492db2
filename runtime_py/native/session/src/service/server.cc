#include "server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "../print.h"
#include "error.h"
#include "json.h"
#include "notify.h"
#include "request.h"

namespace spartan {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLongestError = 1000;  // bytes: a message may quote what a client sent
constexpr auto kPause = std::chrono::seconds(1);  // after a connection could not be accepted

std::string answer_line(const std::string& id, const std::string& members) {
  return "{\"id\":" + id + "," + members + "}\n";
}

std::string error_line(const std::string& id, std::string what) {
  if (what.size() > kLongestError) {
    size_t end = kLongestError;
    while (end > 0 && (static_cast<unsigned char>(what[end]) & 0xC0) == 0x80) {  // not inside a character
      --end;
    }
    what = what.substr(0, end) + " …";
  }
  return answer_line(id, "\"error\":" + json_quote(what));
}

}  // namespace

void Server::serve() {
  while (!wait()) {
    answer_next();
    sweep();
  }
  stop();
}

void Server::stop() {
  notify_manager("STOPPING=1");
  listener_.close();
  stopping_ = true;
  stops_at_ = Clock::now() + patience_;
  for (auto& client : clients_) {
    client->end_input();
  }
  sweep();
  while (!clients_.empty() && now_ < stops_at_ + kPause) {
    wait();
    answer_next();
    sweep();
  }
  clients_.clear();
}

bool Server::wait() {
  std::vector<pollfd> all;
  all.push_back({stopping_ ? -1 : signals_, POLLIN, 0});
  all.push_back({stopping_ || now_ < accepts_from_ ? -1 : listener_.descriptor(), POLLIN, 0});
  Time wake = stopping_ ? stops_at_ + kPause : Time::max();
  if (!stopping_ && now_ < accepts_from_) {
    wake = accepts_from_;
  }
  for (const auto& client : clients_) {
    const int events = (client->wants_input() ? POLLIN : 0) | (client->wants_output() ? POLLOUT : 0);
    all.push_back({client->descriptor(), static_cast<short>(events), 0});
    if (client->wants_output() || client->has_part()) {
      wake = std::min(wake, client->moved() + patience_ + worked_);
    }
  }
  int milliseconds = -1;
  if (has_lines()) {
    milliseconds = 0;
  } else if (wake != Time::max()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(wake - Clock::now()).count();
    milliseconds = static_cast<int>(std::clamp<int64_t>(left + 1, 0, 60000));
  }
  if (poll(all.data(), all.size(), milliseconds) < 0 && errno != EINTR) {
    throw CommandError(std::string("waiting for clients failed: ") + strerror(errno), kExitInternal);
  }
  now_ = Clock::now();
  for (size_t i = 0; i < clients_.size(); ++i) {
    const short events = all[i + 2].revents;
    if (events & (POLLHUP | POLLERR | POLLNVAL)) {
      clients_[i]->hang_up();  // nobody is there to read an answer
      continue;
    }
    if (events & POLLIN) {
      clients_[i]->receive(clients_now());
    }
    if (events & POLLOUT) {
      clients_[i]->send(clients_now());
    }
  }
  if (all[1].revents != 0) {
    accept();
  }
  return all[0].revents != 0;
}

void Server::accept() {
  for (size_t i = 0; i < kMostClients; ++i) {
    const int descriptor = accept4(listener_.descriptor(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        fprintf(stderr, "warning: a client could not be accepted: %s\n", strerror(errno));
        accepts_from_ = now_ + kPause;  // it is still waiting, and would be seen at once again
      }
      return;
    }
    clients_.push_back(std::make_unique<Connection>(descriptor, clients_now()));
    if (clients_.size() > kMostClients) {
      clients_.back()->answer_last(
          error_line("null", std::to_string(kMostClients) + " clients are connected, and no more are served"),
          clients_now());
      clients_.pop_back();
    }
  }
}

void Server::answer_next() {
  for (size_t i = 0; i < clients_.size(); ++i) {
    next_ = (next_ + 1) % clients_.size();
    if (clients_[next_]->has_line()) {
      const Time began = Clock::now();
      const std::string answer = answer_to(clients_[next_]->take_line());
      now_ = Clock::now();
      worked_ += now_ - began;
      clients_[next_]->answer(answer, clients_now());
      return;
    }
  }
}

std::string Server::answer_to(const std::string& line) {
  Request request;
  try {
    read_request(line, request);
    if (stopping_ && now_ >= stops_at_) {
      return error_line(request.id, "the server stops");
    }
    const std::string members = request.asks_status ? status() : model_.answer(request);
    ++answers_;
    return answer_line(request.id, members);
  } catch (const CommandError& error) {
    return error_line(request.id, error.what());
  } catch (const std::bad_alloc&) {
    return error_line(request.id, "out of memory");
  } catch (const std::exception& error) {  // a defect of ours, and no reason to leave the other clients
    fprintf(stderr, "internal error: %s\n", error.what());
    return error_line(request.id, std::string("internal error: ") + error.what());
  }
}

std::string Server::status() const {
  return std::string("\"status\":\"") + (stopping_ ? "stopping" : "ready") + "\",\"protocol\":1,\"takes\":[\"input_ids\"]" +
         ",\"max_length\":" + std::to_string(model_.max_length()) + ",\"tasks\":" + texts(model_.tasks()) +
         ",\"damaged\":" + texts(model_.damaged_tasks()) + ",\"clients\":" + std::to_string(clients_.size()) +
         ",\"answers\":" + std::to_string(answers_);
}

void Server::sweep() {
  const Time now = clients_now();
  for (auto& client : clients_) {
    const bool waited = now - client->moved() >= patience_;
    if (client->has_too_long_line()) {
      client->answer_last(
          error_line("null", "a line has more than " + std::to_string(kLongestLine) + " bytes"), now);
    } else if (client->has_part() && client->ended()) {
      client->answer_last(error_line("null", stopping_ ? "the server stops" : "the last line has no line feed"), now);
    } else if (client->has_part() && waited) {
      client->answer_last(
          error_line("null", "a line did not end within " + std::to_string(patience_.count()) + " s"), now);
    } else if (client->wants_output() && waited) {
      client->hang_up();
    }
  }
  const auto done = [](const auto& client) { return client->done(); };
  clients_.erase(std::remove_if(clients_.begin(), clients_.end(), done), clients_.end());
}

bool Server::has_lines() const {
  return std::any_of(clients_.begin(), clients_.end(), [](const auto& client) { return client->has_line(); });
}

}  // namespace spartan
