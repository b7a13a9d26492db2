// The one exception of the readers and of the command: a message that names the cause, and the command's exit code.
#ifndef SPARTAN_FORMATS_ERROR_H
#define SPARTAN_FORMATS_ERROR_H

#include <stdexcept>
#include <string>

namespace spartan {

constexpr int kExitInternal = 1;
constexpr int kExitUsage = 2;
constexpr int kExitMissing = 5;

class CommandError : public std::runtime_error {
 public:
  explicit CommandError(const std::string& message, int exit_code = kExitUsage)
      : std::runtime_error(message), exit_code(exit_code) {}
  int exit_code;
};

}  // namespace spartan
#endif
