// What every operator does around its kernel: it says which rule a call breaks, and cuts the work for ExecuTorch's
// threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <executorch/runtime/core/exec_aten/util/tensor_util.h>
#include <executorch/runtime/kernel/kernel_includes.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

#include "arena.h"

namespace spartan {

using executorch::aten::ScalarType;
using executorch::aten::SizesType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;

inline bool is_dense(const Tensor& t, ScalarType type) {
  return t.scalar_type() == type && executorch::runtime::is_contiguous_dim_order(t.dim_order().data(), t.dim());
}

inline void refuse(KernelRuntimeContext& context, const char* operation, const char* rule) {
  ET_LOG(Error, "%s: %s", operation, rule);
  context.fail(Error::InvalidArgument);
}

// Runs `call(begin, end, scratch)` over [0, count) in parts of at least `grain`, each thread with `bytes` of scratch of
// its own. False where the call failed, which the context then says: a status of some part, or no memory.
template <typename Call>
bool run_on_threads(KernelRuntimeContext& context, const char* operation, std::int64_t count,
                    std::int64_t grain, std::size_t bytes, const Call& call) {
  using Status = decltype(call(count, count, static_cast<char*>(nullptr)));
  std::atomic<Status> failure{Status::kOk};
  std::atomic<bool> out_of_memory{false};
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    char* scratch = bytes > 0 ? arena(bytes) : nullptr;
    if (bytes > 0 && scratch == nullptr) {
      out_of_memory = true;
      return;
    }
    const Status status = call(begin, end, scratch);
    if (status != Status::kOk) failure = status;
  };
  const bool ran = executorch::extension::parallel_for(0, count, std::max<std::int64_t>(1, grain), part);
  if (out_of_memory) {
    context.fail(Error::MemoryAllocationFailed);
  } else if (!ran) {
    refuse(context, operation, "the thread pool refused the work");
  } else if (failure != Status::kOk) {
    refuse(context, operation, describe(failure));
  } else {
    return true;
  }
  return false;
}

}  // namespace spartan
