// What integer kernels do with 16 bytes on every Arm processor: see quantized_vector.inl.
#pragma once

#include "simd/neon.h"

namespace spartan {
namespace {

struct NeonBytes {
  using Float = Neon;
  using Bytes = int8x16_t;
  using Cells = int8x16_t;
  static constexpr std::size_t kLanes = 4;
  static Bytes load(const std::int8_t* p) { return vld1q_s8(p); }
  static Bytes quad(const std::int8_t* p) {
    return vreinterpretq_s8_s32(vld1q_dup_s32(reinterpret_cast<const std::int32_t*>(p)));  // one load, no duplication
  }
  static Cells cells(Bytes b) { return b; }
  static std::int32_t start_of(std::int32_t) { return 0; }
  static Bytes low(Bytes b) { return vandq_s8(b, vdupq_n_s8(15)); }
  static Bytes high(Bytes b) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(b), 4)); }
};

}  // namespace
}  // namespace spartan
