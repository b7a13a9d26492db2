#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

#include "bundle.h"
#include "commands.h"
#include "error.h"
#include "service/listener.h"
#include "service/model.h"
#include "service/notify.h"
#include "service/server.h"

namespace spartan {

namespace {

// SIGTERM and SIGINT as a descriptor. Before any thread is made: threads inherit what is blocked.
int stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  const int descriptor =
      pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0 ? signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
  if (descriptor < 0) {
    throw CommandError(std::string("signals can't be waited for: ") + strerror(errno), kExitInternal);
  }
  return descriptor;
}

}  // namespace

// Loads first and listens then: whoever can connect gets answers.
int serve(const Options& options) {
  if (!options.has("--socket")) {
    throw CommandError("`spartan serve` needs `--socket PATH`");
  }
  const std::string path = options.text("--socket");
  const std::chrono::seconds patience(options.whole("--patience", 30, 1, 3600));
  require_free(path);
  const int signals = stop_signals();
  Bundle bundle = open_bundle(options.bundle, options.text("--require-signature"));
  if (bundle.handle == nullptr) {
    throw CommandError("`" + options.bundle + "` is not a bundle directory");
  }
  warn_of_damage(bundle);
  Model model(std::move(bundle), options);
  Listener listener(path);
  Server server(model, listener, signals, patience);
  fprintf(stderr, "serving `%s` at `%s`\n", options.bundle.c_str(), path.c_str());
  if (!notify_manager("READY=1\nSTATUS=serving")) {
    fprintf(stderr, "warning: the service manager could not be told that the server is ready\n");
  }
  server.serve();
  close(signals);
  return 0;
}

}  // namespace spartan
