// The words of `spartan`'s command line.
#ifndef SPARTAN_SESSION_OPTIONS_H
#define SPARTAN_SESSION_OPTIONS_H

#include <cstdint>
#include <map>
#include <string>

namespace spartan {

extern const char* const kUsage;

struct Options {
  std::string command;
  std::string bundle;
  std::map<std::string, std::string> values;

  bool has(const std::string& name) const { return values.count(name) > 0; }
  // Empty where it was not given.
  std::string text(const std::string& name) const;
  double number(const std::string& name, double otherwise, double least, double most) const;
  int64_t whole(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const;
};

// Throws CommandError for a command or an option that there is not.
Options parse_options(int argc, char** argv);

}  // namespace spartan
#endif
