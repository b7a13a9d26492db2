#include "guard.h"

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

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

// What stood in the place of our hooks: it gets what belongs to no call of ours. Others bring hooks too, before us or
// after, on the same copy of ExecuTorch: executorch's Python module, or a second libspartan from another folder.
std::atomic<pal_abort_method> others_abort{nullptr};
std::atomic<pal_emit_log_message_method> others_log{nullptr};
thread_local bool handing_on = false;  // two libspartans hand on to each other: once is enough

[[noreturn]] void abort_hook() {
  if (call_log.active) {
    throw Aborted{};
  }
  const auto other = others_abort.load();
  if (other != nullptr && !handing_on) {
    handing_on = true;
    other();
  }
  std::abort();
}

void log_hook(et_timestamp_t timestamp, et_pal_log_level_t level, const char* filename,
              const char* function, size_t line, const char* message, size_t length) {
  if (!call_log.active) {
    const auto other = others_log.load();
    if (other != nullptr && !handing_on) {
      handing_on = true;
      other(timestamp, level, filename, function, line, message, length);
      handing_on = false;
    }
    return;
  }
  const bool matters = level == kError || level == kFatal;
  if (matters && call_log.text.size() + length < 700) {
    if (!call_log.text.empty()) {
      call_log.text += "; ";
    }
    call_log.text.append(message, length);
  }
}

bool are_ours(const runtime::PalImpl& hooks) {
  return hooks.abort == abort_hook && hooks.emit_log_message == log_hook;
}

// Puts our hooks in the place of those that are there, unless they are ours.
void take_hooks() {
  static std::mutex one_at_a_time;
  if (are_ours(*runtime::get_pal_impl())) {
    return;
  }
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  // Written in place: `register_pal` would say on stderr, each time, that it is not the first call.
  runtime::PalImpl& hooks = *const_cast<runtime::PalImpl*>(runtime::get_pal_impl());
  if (hooks.abort != abort_hook) {
    others_abort = hooks.abort;
  }
  // ExecuTorch's default would print what threads of the pool say of a program that fails; its caller is told already.
  if (hooks.emit_log_message != log_hook && hooks.emit_log_message != et_pal_emit_log_message) {
    others_log = hooks.emit_log_message;
  }
  hooks.emit_log_message = log_hook;
  hooks.abort = abort_hook;
}

}  // namespace

void initialize_once() {
  static const bool done = [] {
    runtime::runtime_init();
    return true;
  }();
  (void)done;
  take_hooks();
}

LoggedCall::LoggedCall() {
  take_hooks();
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
