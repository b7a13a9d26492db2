#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "error.h"

namespace spartan {

MappedFile::MappedFile(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw CommandError("cannot read `" + path + "`: " + strerror(errno));
  }
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    throw CommandError("`" + path + "` is not a plain file");
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ > 0) {
    void* mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapped == MAP_FAILED) {
      const std::string reason = strerror(errno);
      close(descriptor);
      throw CommandError("cannot map `" + path + "`: " + reason);
    }
    data_ = static_cast<const uint8_t*>(mapped);
  }
  close(descriptor);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    munmap(const_cast<uint8_t*>(data_), size_);
  }
}

void write_whole(const std::string& path, const void* data, size_t size) {
  const std::string partial = path + ".part";
  const int descriptor = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const auto give_up = [&] {
    const std::string reason = strerror(errno);
    if (descriptor >= 0) {
      close(descriptor);
      unlink(partial.c_str());
    }
    throw CommandError("cannot write `" + path + "`: " + reason);
  };
  if (descriptor < 0) {
    give_up();
  }
  const auto* bytes = static_cast<const uint8_t*>(data);
  for (size_t written = 0; written < size;) {
    const ssize_t step = write(descriptor, bytes + written, size - written);
    if (step < 0) {
      if (errno == EINTR) {
        continue;
      }
      give_up();
    }
    written += static_cast<size_t>(step);
  }
  if (fsync(descriptor) != 0 || rename(partial.c_str(), path.c_str()) != 0) {
    give_up();
  }
  close(descriptor);
}

void drop_from_page_cache(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw CommandError("cannot read `" + path + "`: " + strerror(errno));
  }
  fsync(descriptor);  // pages that are not on the disk yet would stay
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  close(descriptor);
}

}  // namespace spartan
