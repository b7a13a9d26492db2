#include "cpu/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace spartan {
namespace {

#if defined(__x86_64__) && defined(__linux__)
bool ask() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;  // leaf 7, edx
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (kAmxTile | kAmxInt8)) != (kAmxTile | kAmxInt8)) return false;
  // Of Linux' asm/prctl.h and asm/fpu/xstate.h, spelled out so that older headers do. Fails before Linux 5.16, and
  // where the system does not save the tiles.
  constexpr long kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
}
#else
bool ask() { return false; }
#endif

}  // namespace

bool amx_int8_permitted() {
  static const bool permitted = ask();
  return permitted;
}

}  // namespace spartan
