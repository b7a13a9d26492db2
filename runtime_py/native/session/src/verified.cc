#include "verified.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <ctime>

#include "error.h"
#include "mapped_file.h"
#include "sha256.h"

namespace spartan {

namespace {

constexpr int64_t kSettledNs = 2000000000;

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

}  // namespace

Record::Record(const std::string& path, const std::string& manifest_digest, const std::vector<std::string>& names) {
  struct timespec now {};
  clock_gettime(CLOCK_REALTIME, &now);
  made_ns_ = nanoseconds(now);
  char real[PATH_MAX];
  folder_ = cache_folder();
  if (folder_.empty() || realpath(path.c_str(), real) == nullptr) {
    folder_.clear();
    return;
  }
  const std::string name = real;
  path_ = folder_ + "/" + sha256_hex(reinterpret_cast<const uint8_t*>(name.data()), name.size());
  text_ = "spartanc-verified 1\n" + manifest_digest + "\n";
  for (const std::string& each : names) {
    struct stat status {};
    if (lstat((path + "/" + each).c_str(), &status) != 0) {
      throw CommandError("bundle `" + path + "`: `" + each + "` is missing; nothing in it was loaded");
    }
    const int64_t modified = nanoseconds(status.st_mtim), changed = nanoseconds(status.st_ctim);
    newest_ns_ = std::max({newest_ns_, modified, changed});
    text_ += std::to_string(status.st_dev) + " " + std::to_string(status.st_ino) + " " +
             std::to_string(status.st_size) + " " + std::to_string(modified) + " " + std::to_string(changed) + " " +
             each + "\n";
  }
}

bool Record::holds() const {
  if (folder_.empty()) {
    return false;
  }
  struct stat status {};
  if (lstat(path_.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid() ||
      (status.st_mode & 022) != 0) {
    return false;
  }
  try {
    const MappedFile file(path_);
    return std::string(reinterpret_cast<const char*>(file.data()), file.size()) == text_;
  } catch (const CommandError&) {
    return false;
  }
}

void Record::keep() const {
  if (folder_.empty() || newest_ns_ > made_ns_ - kSettledNs || !make_folders(folder_)) {
    return;
  }
  std::string partial = folder_ + "/recordXXXXXX";
  const int descriptor = mkstemp(partial.data());
  if (descriptor < 0) {
    return;
  }
  const bool whole = write(descriptor, text_.data(), text_.size()) == static_cast<ssize_t>(text_.size());
  if (close(descriptor) != 0 || !whole || rename(partial.c_str(), path_.c_str()) != 0) {
    unlink(partial.c_str());
  }
}

}  // namespace spartan
