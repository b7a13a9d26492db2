// One task of a fleet: a file of tensors that follow ids and mask. The format and what a reader checks stand in
// runtime_py/task_file.py; all of it is checked here too, but for the probe, which needs a session.
#ifndef SPARTAN_SESSION_TASK_H
#define SPARTAN_SESSION_TASK_H

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle.h"
#include "probe.h"
#include "safetensors.h"
#include "spartan/session.h"

namespace spartan {

// True where the bundle's program takes the tensors of a task.
bool is_fleet(const Bundle& bundle);

class Task {
 public:
  // `name_or_path` is a task of the fleet, or a task's file. Throws CommandError where anything disagrees.
  Task(const Bundle& bundle, const std::string& name_or_path);

  // Views of the mapped file, in the program's order.
  const std::vector<spartan_tensor>& tensors() const { return tensors_; }
  const std::vector<std::string>& labels() const { return labels_; }
  const Probe& probe() const { return *probe_; }

 private:
  void check_against(const Json& manifest, const Json& task);

  std::string path_;
  std::unique_ptr<Safetensors> file_;
  std::vector<spartan_tensor> tensors_;
  std::vector<std::string> labels_;
  std::optional<Probe> probe_;
};

}  // namespace spartan
#endif
