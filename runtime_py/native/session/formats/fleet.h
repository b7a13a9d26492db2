// The part `fleet` of a manifest: what a fleet's program takes. See docs/formats/bundle.md.
#ifndef SPARTAN_FORMATS_FLEET_H
#define SPARTAN_FORMATS_FLEET_H

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json.h"

namespace spartan {

// Of a task: what the words in shapes mean is computed from these.
struct TaskSizes {
  uint64_t parents = 0;
  uint64_t cells = 0;
  uint64_t classes = 0;

  // False if there is no such word.
  bool find(std::string_view word, uint64_t* size) const;
};

struct Fleet {
  struct Bound {
    uint64_t least = 0;
    uint64_t most = 0;
  };
  // One tensor of a task. A size is a number, or a word where the number is 0.
  struct Input {
    std::string name;
    std::string dtype;
    std::vector<std::pair<uint64_t, std::string>> shape;
  };
  struct Entry {
    std::string name;
    std::string file;
  };

  std::string backbone;
  std::string quantization;
  Bound parents, cells, classes;
  std::vector<Input> inputs;
  std::vector<Entry> tasks;

  // Throws CommandError, with `what` before the cause, where a rule is broken. `files` are those of the manifest.
  Fleet(const Json& fleet, const Json& files, const std::string& what);
};

constexpr uint64_t kMostSize = INT32_MAX;
constexpr size_t kMostDimensions = 8;

bool is_digest(std::string_view text);
bool is_task_name(std::string_view text);
// Bytes of an element; 0 if no task has this dtype.
size_t element_size(std::string_view dtype);
// Whether the tensor of this name holds [parents, cells, top_k].
bool is_layout(std::string_view name);

}  // namespace spartan
#endif
