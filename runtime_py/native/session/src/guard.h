// A call into ExecuTorch: what it logs, where it gives up, and how that becomes a status and a message.
#ifndef SPARTAN_SESSION_GUARD_H
#define SPARTAN_SESSION_GUARD_H

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <string>

#include <executorch/runtime/core/error.h>

#include "formats/error.h"
#include "spartan/session.h"

namespace spartan {

// ExecuTorch's runtime, once a process, with our hooks for its log and its abort in place.
void initialize_once();

// Thrown out of ExecuTorch's abort hook on the calling thread. ExecuTorch's frames are left without their
// destructors, so the session that it happened in is never used or freed again.
struct Aborted {};

// Collects the log of one call into ExecuTorch: what it logs as an error becomes part of our message, since it names
// the missing operator, the wrong shape.
class LoggedCall {
 public:
  LoggedCall();
  ~LoggedCall();
  LoggedCall(const LoggedCall&) = delete;
  LoggedCall& operator=(const LoggedCall&) = delete;

  // Of this thread's call, or its last one.
  static const std::string& text();
};

struct Failure {
  spartan_status status;
  std::string message;
};

[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(spartan_status status, const char* format, ...);
[[noreturn]] void fail_with_log(spartan_status status, const std::string& what, executorch::runtime::Error error);
void write_message(const std::string& text, char* message, size_t size);

// Runs `body` and turns everything that comes out of it into a status and a message.
template <typename Body>
int32_t guarded(char* message, size_t size, Body&& body) {
  try {
    body();
    write_message("", message, size);
    return SPARTAN_OK;
  } catch (const Failure& failure) {
    write_message(failure.message, message, size);
    return failure.status;
  } catch (const CommandError& error) {  // of the readers of files
    write_message(error.what(), message, size);
    return error.exit_code == kExitUsage     ? SPARTAN_REFUSED
           : error.exit_code == kExitMissing ? SPARTAN_NO_CRYPTO
                                             : SPARTAN_INTERNAL;
  } catch (const std::bad_alloc&) {
    write_message("out of memory", message, size);
    return SPARTAN_NO_MEMORY;
  } catch (const std::exception& error) {
    write_message(std::string("internal error: ") + error.what(), message, size);
    return SPARTAN_INTERNAL;
  } catch (...) {
    write_message("internal error of an unknown kind", message, size);
    return SPARTAN_INTERNAL;
  }
}

}  // namespace spartan
#endif
