// Intel's tile registers (AMX): a processor that has them and a Linux that lets this process use them.
#pragma once

namespace spartan {

// Asks Linux once a process: their state is large, so it is switched on for those who ask.
bool amx_int8_permitted();

}  // namespace spartan
