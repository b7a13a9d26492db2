// What can be read of the machine around a measurement. What a machine does not show stays out of the report.
#ifndef SPARTAN_SESSION_MACHINE_H
#define SPARTAN_SESSION_MACHINE_H

#include <cstdint>
#include <string>
#include <vector>

namespace spartan {

struct MachineState {
  double load_average = -1;             // of one minute and the whole machine; below 0 where it is not shown
  int online = 0;                       // processors of the machine; 0 where it is not shown
  uint64_t busy_ticks = 0;              // of the processors that this process may run on
  uint64_t steal_ticks = 0;             // what the hypervisor took of them
  uint64_t own_ticks = 0;               // of this process
  uint64_t wall_ns = 0;
  std::vector<double> temperatures_c;
  std::vector<double> frequencies_mhz;  // now, of each of those processors that shows it
  std::vector<double> highest_mhz;      // what each may reach
  int64_t throttled = -1;               // Raspberry Pi firmware's bits; below 0 where it is not shown
};

MachineState read_machine_state();
// What the machine calls itself, as a JSON list: device tree, firmware, and the hypervisor below an x86 processor.
std::string hardware_text();
std::string to_json(const MachineState& state);

uint64_t clock_resolution_ns();
int processors();  // that this process may run on
double ticks_per_second();

}  // namespace spartan
#endif
