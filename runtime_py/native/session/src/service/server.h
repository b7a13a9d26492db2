// Serves clients of a Unix socket, one request at a time, until it is told to stop.
#ifndef SPARTAN_SESSION_SERVICE_SERVER_H
#define SPARTAN_SESSION_SERVICE_SERVER_H

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "connection.h"
#include "listener.h"
#include "model.h"

namespace spartan {

constexpr size_t kMostClients = 64;

// One thread waits for clients, reads, computes and answers: an inference has all threads of the pool, and there is
// nothing to lock. Clients take turns, a request each.
class Server {
 public:
  // `signals`: a signalfd; what can be read from it ends `serve`. `patience`: how long a client may leave a line
  // unfinished, or an answer unread, and how long a stop may take before what is left is refused.
  Server(Model& model, Listener& listener, int signals, std::chrono::seconds patience)
      : model_(model), listener_(listener), signals_(signals), patience_(patience) {}

  void serve();

 private:
  void stop();
  // Waits until something is to be done; true if it is time to stop.
  bool wait();
  void accept();
  void answer_next();
  std::string answer_to(const std::string& line);
  std::string status() const;
  // Refuses what clients may not do, and lets go of those that are done.
  void sweep();
  bool has_lines() const;
  // The time by which clients are judged. It stands still during an answer: whom the server leaves waiting, because it
  // computes for another, has not been slow.
  Time clients_now() const { return now_ - worked_; }

  Model& model_;
  Listener& listener_;
  int signals_;
  std::chrono::seconds patience_;
  std::vector<std::unique_ptr<Connection>> clients_;
  size_t next_ = 0;  // whose turn it is
  uint64_t answers_ = 0;
  Time now_ = std::chrono::steady_clock::now();
  Time::duration worked_{};  // what went into answers
  Time accepts_from_ = now_;
  bool stopping_ = false;
  Time stops_at_ = now_;
};

}  // namespace spartan
#endif
