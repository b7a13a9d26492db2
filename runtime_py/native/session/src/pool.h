// ExecuTorch's thread pool and XNNPACK's weight cache, which all sessions of a process share.
#ifndef SPARTAN_SESSION_POOL_H
#define SPARTAN_SESSION_POOL_H

#include <cstdint>

namespace spartan {

// Takes part in the pool, of `threads` threads where that is not 0, and returns how many it has. Throws Failure where
// other open sessions have a pool of another size.
uint32_t claim_pool(int32_t threads);
void release_pool();

// Process-wide in ExecuTorch, and read when a program is loaded.
void set_weight_cache(bool on);

}  // namespace spartan
#endif
