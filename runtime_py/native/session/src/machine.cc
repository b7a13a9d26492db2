#include "machine.h"

#include <sched.h>
#include <sys/times.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "json.h"
#include "print.h"

namespace spartan {

namespace {

bool read_number(const std::string& path, double* value) {
  std::ifstream file(path);
  return static_cast<bool>(file >> *value);
}

uint64_t now_ns() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

// Processors that this process may run on, in order. What others do on the rest of the machine does not slow it.
std::vector<int> own_processors() {
  std::vector<int> numbers;
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool known = sched_getaffinity(0, sizeof set, &set) == 0;
  const int most = known ? CPU_SETSIZE : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  for (int cpu = 0; cpu < most; ++cpu) {
    if (!known || CPU_ISSET(static_cast<size_t>(cpu), &set)) {
      numbers.push_back(cpu);
    }
  }
  return numbers;
}

// `processors` is sorted.
void read_processor_times(MachineState& state, const std::vector<int>& processors) {
  std::ifstream file("/proc/stat");
  std::string line;
  while (std::getline(file, line) && line.rfind("cpu", 0) == 0) {
    std::istringstream fields(line);
    std::string label;
    uint64_t user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0;
    fields >> label >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal;
    if (!fields || label == "cpu") {  // the sum of all
      continue;
    }
    ++state.online;
    if (std::binary_search(processors.begin(), processors.end(), std::atoi(label.c_str() + 3))) {
      state.busy_ticks += user + nice + system + irq + soft;
      state.steal_ticks += steal;
    }
  }
  struct tms own {};
  times(&own);
  state.own_ticks = static_cast<uint64_t>(own.tms_utime + own.tms_stime);
}

// The texts in a file that holds one, or several with zeros between them; ASCII only.
void add_texts(const std::string& path, std::vector<std::string>* texts) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  while (std::getline(file, text, '\0')) {
    std::string plain;
    std::copy_if(text.begin(), text.end(), std::back_inserter(plain), [](char c) { return c >= 0x20 && c < 0x7f; });
    if (!plain.empty()) {
      texts->push_back(plain);
    }
  }
}

// KVMKVMKVM, TCGTCGTCGTCG and the like; "" on no hypervisor, and on other processors.
std::string hypervisor() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kUnderHypervisor = 1u << 31, kFirstLeaf = 0x40000000;
  if (__get_cpuid(1, &a, &b, &c, &d) != 0 && (c & kUnderHypervisor) != 0) {
    __cpuid(kFirstLeaf, a, b, c, d);
    char name[13] = {};
    std::memcpy(name, &b, 4);
    std::memcpy(name + 4, &c, 4);
    std::memcpy(name + 8, &d, 4);
    return name;
  }
#endif
  return "";
}

std::string list_text(const std::vector<double>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) {
    text += (i > 0 ? "," : "") + json_number(values[i]);
  }
  return text + "]";
}

}  // namespace

MachineState read_machine_state() {
  MachineState state;
  const std::vector<int> own = own_processors();
  // Frequencies first: they fall within milliseconds of the last run.
  for (const int cpu : own) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cpufreq/";
    double now = 0;
    double highest = 0;
    if (read_number(folder + "scaling_cur_freq", &now) && read_number(folder + "cpuinfo_max_freq", &highest)) {
      state.frequencies_mhz.push_back(now / 1000);
      state.highest_mhz.push_back(highest / 1000);
    }
  }
  state.wall_ns = now_ns();
  read_processor_times(state, own);
  read_number("/proc/loadavg", &state.load_average);
  for (int zone = 0; zone < 16; ++zone) {
    double value = 0;
    if (read_number("/sys/class/thermal/thermal_zone" + std::to_string(zone) + "/temp", &value)) {
      state.temperatures_c.push_back(value / 1000);
    }
  }
  std::ifstream throttled("/sys/devices/platform/soc/soc:firmware/get_throttled");
  int64_t bits = 0;
  if (throttled >> std::hex >> bits) {
    state.throttled = bits;
  }
  return state;
}

std::string to_json(const MachineState& state) {
  std::ostringstream text;
  text << "{\"load_average\":" << (state.load_average < 0 ? "null" : json_number(state.load_average))
       << ",\"online\":" << state.online << ",\"busy_ticks\":" << state.busy_ticks << ",\"steal_ticks\":" << state.steal_ticks
       << ",\"own_ticks\":" << state.own_ticks << ",\"wall_ns\":" << state.wall_ns
       << ",\"temperatures_c\":" << list_text(state.temperatures_c)
       << ",\"frequencies_mhz\":" << list_text(state.frequencies_mhz)
       << ",\"highest_mhz\":" << list_text(state.highest_mhz) << ",\"throttled\":";
  if (state.throttled < 0) {
    text << "null}";
  } else {
    text << state.throttled << "}";
  }
  return text.str();
}

std::string hardware_text() {
  std::vector<std::string> names;
  for (const char* path : {"/proc/device-tree/model", "/proc/device-tree/compatible", "/sys/class/dmi/id/sys_vendor",
                           "/sys/class/dmi/id/product_name"}) {
    add_texts(path, &names);
  }
  if (const std::string name = hypervisor(); !name.empty()) {
    names.push_back(name);
  }
  return "[" + joined(names, [](const std::string& name) { return json_quote(name); }) + "]";
}

uint64_t clock_resolution_ns() {
  // The smallest step that the clock was seen to take.
  uint64_t smallest = UINT64_MAX;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t start = now_ns();
    uint64_t next = now_ns();
    while (next == start) {
      next = now_ns();
    }
    smallest = next - start < smallest ? next - start : smallest;
  }
  return smallest;
}

int processors() { return static_cast<int>(own_processors().size()); }

double ticks_per_second() { return static_cast<double>(sysconf(_SC_CLK_TCK)); }

}  // namespace spartan
