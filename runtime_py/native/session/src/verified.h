// What was checked before. runtime_py/verified.py describes the records; both read and write the same ones.
#ifndef SPARTAN_SESSION_VERIFIED_H
#define SPARTAN_SESSION_VERIFIED_H

#include <cstdint>
#include <string>
#include <vector>

namespace spartan {

class Record {
 public:
  // Of the bundle at `path` as it stands now: make it before anything is hashed.
  Record(const std::string& path, const std::string& manifest_digest, const std::vector<std::string>& names);

  // Whether a check of exactly these files ended well before.
  bool holds() const;
  // Call when the check ended well. Where nothing can be written, nothing is.
  void keep() const;

 private:
  std::string folder_;  // empty where this user has no cache
  std::string path_;
  std::string text_;
  int64_t made_ns_ = 0;
  int64_t newest_ns_ = 0;
};

}  // namespace spartan
#endif
