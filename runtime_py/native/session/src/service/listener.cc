#include "listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "error.h"

namespace spartan {

namespace {

constexpr int kWaiting = 64;  // connections that nobody has accepted yet

// A descriptor that closes itself.
class Open {
 public:
  explicit Open(int descriptor) : descriptor_(descriptor) {}
  ~Open() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;
  int get() const { return descriptor_; }
  int release() {
    const int descriptor = descriptor_;
    descriptor_ = -1;
    return descriptor;
  }

 private:
  int descriptor_;
};

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw CommandError("no server can listen at `" + path + "`: " + why);
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    refuse(path, "a socket's path has 1 to " + std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

int new_socket(const std::string& path) {
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) {
    refuse(path, strerror(errno));
  }
  return descriptor;
}

const sockaddr* plain(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

// Whether a dead server's socket file stands at `path`. Refuses whatever else does.
bool is_stale(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      return false;
    }
    refuse(path, strerror(errno));
  }
  if (!S_ISSOCK(status.st_mode)) {
    refuse(path, "something that is no socket stands there");
  }
  const Open asking(new_socket(path));
  if (connect(asking.get(), plain(address), sizeof address) == 0 || errno == EAGAIN) {
    refuse(path, "another server answers there");
  }
  if (errno != ECONNREFUSED && errno != ENOENT) {
    refuse(path, std::string("whether another server answers there can't be told: ") + strerror(errno));
  }
  return true;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

void require_free(const std::string& path) { is_stale(path, address_of(path)); }

Listener::Listener(const std::string& path) : path_(path) {
  const sockaddr_un address = address_of(path);
  // Two servers that start at once would both find a stale file, and one would remove the other's. The folder is what
  // they take turns with: it leaves no file of its own.
  const Open folder(open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || flock(folder.get(), LOCK_EX) != 0) {
    refuse(path, "its folder: " + std::string(strerror(errno)));
  }
  if (is_stale(path, address) && unlink(path.c_str()) != 0 && errno != ENOENT) {
    refuse(path, std::string("a dead server's file can't be removed: ") + strerror(errno));
  }
  Open listening(new_socket(path));
  struct stat status {};
  if (bind(listening.get(), plain(address), sizeof address) != 0 || listen(listening.get(), kWaiting) != 0 ||
      lstat(path.c_str(), &status) != 0) {
    refuse(path, strerror(errno));
  }
  device_ = status.st_dev;
  inode_ = status.st_ino;
  descriptor_ = listening.release();
}

void Listener::close() {
  if (descriptor_ < 0) {
    return;
  }
  struct stat status {};
  if (lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    unlink(path_.c_str());
  }
  ::close(descriptor_);
  descriptor_ = -1;
}

}  // namespace spartan
