// The socket that clients connect to, and its file.
#ifndef SPARTAN_SESSION_SERVICE_LISTENER_H
#define SPARTAN_SESSION_SERVICE_LISTENER_H

#include <sys/types.h>

#include <string>

namespace spartan {

// CommandError if a server answers at `path`, if something that is no socket stands there, or if `path` is no name of
// a socket. A server looks before it loads anything; `Listener` looks again.
void require_free(const std::string& path);

class Listener {
 public:
  // Listens at `path`, and takes the place of a dead server's socket file. CommandError as from `require_free`.
  explicit Listener(const std::string& path);
  ~Listener() { close(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int descriptor() const { return descriptor_; }
  // Listens no more, and removes the file if it is still this listener's.
  void close();

 private:
  std::string path_;
  int descriptor_ = -1;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace spartan
#endif
