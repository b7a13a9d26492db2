// What was checked before. runtime_py/verified.py describes the records; both read and write the same ones.
#ifndef SPARTAN_FORMATS_VERIFIED_H
#define SPARTAN_FORMATS_VERIFIED_H

#include <cstdint>
#include <string>
#include <vector>

namespace spartan {

class Record {
 public:
  // Of the bundle at `path` as it stands now, with the files it begins with. Make it, and add to it, before what it
  // stands for is read.
  Record(const std::string& path, const std::vector<std::string>& names);
  void add(const std::vector<std::string>& names);

  // Whether a check of the files so far, and perhaps of more, ended well before.
  bool begins() const;
  // Whether a check of exactly these files ended well before.
  bool holds() const;
  // Call when the check ended well. Where nothing can be written, nothing is.
  void keep() const;

 private:
  std::string bundle_;
  std::vector<std::string> names_;
  std::string folder_;  // empty where this user has no cache
  std::string path_;
  std::string kept_;
  std::string text_;
  int64_t made_ns_ = 0;
  int64_t newest_ns_ = 0;
};

}  // namespace spartan
#endif
