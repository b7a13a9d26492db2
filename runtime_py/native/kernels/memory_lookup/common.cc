#include "memory_lookup/common.h"

#include <cmath>

namespace spartan {

const char* describe(Status status) {
  switch (status) {
    case Status::kOk: return "ok";
    case Status::kBadHidden: return "the hidden size must be within 1 and 65536";
    case Status::kBadParents: return "the number of parents must be within 1 and 65536";
    case Status::kBadCells: return "the number of cells must be a positive multiple of the parents, at most 1048576";
    case Status::kBadTopK: return "top_k must be within 1 and the number of parents";
    case Status::kBadTemperature: return "the temperature must be finite and above zero";
    case Status::kBadRange: return "the range of positions must be 0 <= begin <= end";
    case Status::kBadNorm: return "LayerNorm needs a weight, and an epsilon that is finite and not negative";
    case Status::kNullPointer: return "a tensor or the scratch is missing";
    case Status::kScratchTooSmall: return "the scratch is smaller than scratch_bytes() says";
    case Status::kBadGroups: return "int4 cells need a hidden size that is a multiple of 32";
    case Status::kNoSuchKernel: return "this machine does not have the instruction set asked for";
  }
  return "unknown status";
}

Status check(const MemoryShape& shape) {
  if (shape.hidden < 1 || shape.hidden > kMaxHidden) return Status::kBadHidden;
  if (shape.parents < 1 || shape.parents > kMaxParents) return Status::kBadParents;
  if (shape.cells < 1 || shape.cells > kMaxCells || shape.cells % shape.parents != 0) return Status::kBadCells;
  if (shape.top_k < 1 || shape.top_k > shape.parents) return Status::kBadTopK;
  return Status::kOk;
}

Status check_call(const MemoryShape& shape, const Epilogue& epilogue, const float* x, std::int64_t begin,
                  std::int64_t end, const float* out) {
  if (const Status status = check(shape); status != Status::kOk) return status;
  if (begin < 0 || end < begin) return Status::kBadRange;
  if (epilogue.norm_weight == nullptr && epilogue.norm_bias != nullptr) return Status::kBadNorm;
  if (epilogue.norm_weight != nullptr && !(epilogue.norm_eps >= 0 && std::isfinite(epilogue.norm_eps))) {
    return Status::kBadNorm;
  }
  if (begin != end && (x == nullptr || out == nullptr)) return Status::kNullPointer;
  return Status::kOk;
}

}  // namespace spartan
