#include "guard.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

namespace spartan {

namespace runtime = executorch::runtime;

namespace {

struct CallLog {
  bool active = false;
  std::string text;
};
thread_local CallLog call_log;

[[noreturn]] void abort_hook() {
  if (call_log.active) {
    throw Aborted{};
  }
  std::abort();
}

void log_hook(et_timestamp_t, et_pal_log_level_t level, const char*, const char*, size_t,
              const char* message, size_t length) {
  const bool matters = level == kError || level == kFatal;
  if (!matters || !call_log.active) {
    return;
  }
  if (call_log.text.size() + length < 700) {
    if (!call_log.text.empty()) {
      call_log.text += "; ";
    }
    call_log.text.append(message, length);
  }
}

}  // namespace

void initialize_once() {
  static const bool done = [] {
    runtime::runtime_init();
    runtime::PalImpl hooks = *runtime::get_pal_impl();
    hooks.emit_log_message = log_hook;
    hooks.abort = abort_hook;
    hooks.source_filename = __FILE__;
    return runtime::register_pal(hooks);
  }();
  (void)done;
}

LoggedCall::LoggedCall() {
  call_log.text.clear();
  call_log.active = true;
}

LoggedCall::~LoggedCall() { call_log.active = false; }

const std::string& LoggedCall::text() { return call_log.text; }

void fail(spartan_status status, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Failure{status, text};
}

void fail_with_log(spartan_status status, const std::string& what, runtime::Error error) {
  char code[32];
  snprintf(code, sizeof code, " (ExecuTorch error 0x%x", static_cast<unsigned>(error));
  throw Failure{status, what + code + (call_log.text.empty() ? ")" : ": " + call_log.text + ")")};
}

void write_message(const std::string& text, char* message, size_t size) {
  if (message != nullptr && size > 0) {
    const size_t length = std::min(text.size(), size - 1);
    memcpy(message, text.data(), length);
    message[length] = '\0';
  }
}

}  // namespace spartan
