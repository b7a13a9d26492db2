#include "pool.h"

#include <mutex>

#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/backend/options.h>

#include "guard.h"

// The part of libexecutorch_threadpool's interface that is used here; its header is not part of the package.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace spartan {

namespace runtime = executorch::runtime;

namespace {

std::mutex pool_mutex;
size_t open_sessions = 0;

}  // namespace

// XNNPACK keeps the pool it was loaded with, so the pool is replaced only while nothing is loaded.
uint32_t claim_pool(int32_t threads) {
  const std::lock_guard<std::mutex> lock(pool_mutex);
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr) {
    fail(SPARTAN_INTERNAL, "the thread pool could not be made");
  }
  if (threads > 0 && pool->get_thread_count() != static_cast<size_t>(threads)) {
    if (open_sessions > 0) {
      fail(SPARTAN_BAD_ARGUMENT, "threads must be %zu while other sessions are open, got %d",
           pool->get_thread_count(), threads);
    }
    if (!pool->_unsafe_reset_threadpool(static_cast<uint32_t>(threads))) {
      fail(SPARTAN_INTERNAL, "the thread pool could not be set to %d threads", threads);
    }
  }
  ++open_sessions;
  return static_cast<uint32_t>(pool->get_thread_count());
}

void release_pool() {
  const std::lock_guard<std::mutex> lock(pool_mutex);
  --open_sessions;
}

void set_weight_cache(bool on) {
  runtime::BackendOptions<1> options;
  if (options.set_option("weight_cache_enabled", on) != runtime::Error::Ok ||
      runtime::set_option("XnnpackBackend", options.view()) != runtime::Error::Ok) {
    fail(SPARTAN_INTERNAL, "the XNNPACK weight cache could not be switched %s", on ? "on" : "off");
  }
}

}  // namespace spartan
