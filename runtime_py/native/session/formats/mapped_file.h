// A whole file, mapped for reading.
#ifndef SPARTAN_FORMATS_MAPPED_FILE_H
#define SPARTAN_FORMATS_MAPPED_FILE_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace spartan {

class MappedFile {
 public:
  // Throws CommandError where `path` is missing, unreadable or no plain file. An empty file has size 0.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Writes `size` bytes to `path` by way of a file beside it, so that `path` is whole or not there.
void write_whole(const std::string& path, const void* data, size_t size);

// Asks the kernel to forget what it holds of `path`, so that the next reader waits for the disk.
void drop_from_page_cache(const std::string& path);

}  // namespace spartan
#endif
