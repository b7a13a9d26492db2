#include "verified.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "error.h"

namespace spartan {

namespace {

constexpr int64_t kSettledNs = 2000000000;
constexpr off_t kLargest = 4 << 20;  // bytes; a real one holds a few hundred

int64_t nanoseconds(const struct timespec& time) { return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec; }

std::string text_of(const char* variable) {
  const char* value = getenv(variable);
  return value == nullptr ? "" : value;
}

std::string cache_folder() {
  if (const std::string own = text_of("SPARTANC_CACHE"); !own.empty()) {
    return own + "/verified";
  }
  if (const std::string shared = text_of("XDG_CACHE_HOME"); !shared.empty()) {
    return shared + "/spartanc/verified";
  }
  const std::string home = text_of("HOME");
  return home.empty() ? "" : home + "/.cache/spartanc/verified";
}

bool make_folders(const std::string& path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), end == std::string::npos ? 0700 : 0755) != 0 && errno != EEXIST) {
      return false;
    }
    if (end == std::string::npos) {
      return true;
    }
  }
}

// What stands in the record at `path`; nothing where it is not this user's own.
std::string read_own(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    return "";
  }
  struct stat status {};
  std::string text;
  if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
      (status.st_mode & 022) == 0 && status.st_size <= kLargest) {
    text.resize(static_cast<size_t>(status.st_size));
    if (read(descriptor, text.data(), text.size()) != status.st_size) {
      text.clear();
    }
  }
  close(descriptor);
  return text;
}

// False where the file can't be read or written out; a file system that can't tell, or is never written, is good.
bool sync_file(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    return false;
  }
  const bool synced = fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP;
  close(descriptor);
  return synced;
}

}  // namespace

Record::Record(const std::string& path, const std::vector<std::string>& names)
    : bundle_(path), folder_(cache_folder()), text_("spartanc-verified 2\n") {
  struct timespec now {};
  clock_gettime(CLOCK_REALTIME, &now);
  made_ns_ = nanoseconds(now);
  struct stat directory {};
  if (folder_.empty() || stat(path.c_str(), &directory) != 0) {
    folder_.clear();
  } else {
    path_ = folder_ + "/" + std::to_string(directory.st_dev) + "-" + std::to_string(directory.st_ino);
    kept_ = read_own(path_);
  }
  add(names);
}

void Record::add(const std::vector<std::string>& names) {
  names_.insert(names_.end(), names.begin(), names.end());
  for (const std::string& each : names) {
    struct stat status {};
    if (lstat((bundle_ + "/" + each).c_str(), &status) != 0) {
      throw CommandError("bundle `" + bundle_ + "`: `" + each + "` is missing; nothing in it was loaded");
    }
    const int64_t modified = nanoseconds(status.st_mtim), changed = nanoseconds(status.st_ctim);
    newest_ns_ = std::max({newest_ns_, modified, changed});
    text_ += std::to_string(status.st_dev) + " " + std::to_string(status.st_ino) + " " +
             std::to_string(status.st_size) + " " + std::to_string(modified) + " " + std::to_string(changed) + " " +
             each + "\n";
  }
}

bool Record::begins() const { return kept_.compare(0, text_.size(), text_) == 0; }

bool Record::holds() const { return kept_ == text_; }

void Record::keep() const {
  if (folder_.empty() || newest_ns_ > made_ns_ - kSettledNs || !make_folders(folder_)) {
    return;
  }
  for (const std::string& each : names_) {
    if (!sync_file(bundle_ + "/" + each)) {
      return;
    }
  }
  std::string partial = folder_ + "/recordXXXXXX";
  const int descriptor = mkstemp(partial.data());
  if (descriptor < 0) {
    return;
  }
  const bool whole = write(descriptor, text_.data(), text_.size()) == static_cast<ssize_t>(text_.size());
  const bool synced = fsync(descriptor) == 0;
  if (close(descriptor) != 0 || !whole || !synced || rename(partial.c_str(), path_.c_str()) != 0) {
    unlink(partial.c_str());
  }
}

}  // namespace spartan
