// An opened program: the C interface with errors thrown.
#ifndef SPARTAN_SESSION_PROGRAM_H
#define SPARTAN_SESSION_PROGRAM_H

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "options.h"
#include "spartan/session.h"

namespace spartan {

constexpr size_t kMessageSize = 2048;  // of libspartan's messages

// Throws CommandError with `message` for anything but SPARTAN_OK, with the exit code that goes with the status.
void check(int32_t status, const char* message);

// What the manifest says of the inputs, where there is one, the session holds them to.
class Program {
 public:
  Program(const Bundle& bundle, const Options& options);

  spartan_session* get() const { return session_.get(); }
  void run(const std::vector<spartan_tensor>& inputs);
  // The first output, flat.
  std::vector<float> logits() const;
  spartan_statistics statistics() const;
  void write_profile(const std::string& path);

 private:
  struct Close {
    void operator()(spartan_session* session) const { spartan_close(session); }
  };
  std::unique_ptr<spartan_session, Close> session_;
};

}  // namespace spartan
#endif
