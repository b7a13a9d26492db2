// One task of a fleet: a file of tensors that follow ids and mask. docs/formats/task.md says what is checked; all of it
// is checked here but the probe, for which the program has to run.
#ifndef SPARTAN_FORMATS_TASK_H
#define SPARTAN_FORMATS_TASK_H

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet.h"
#include "probe.h"
#include "safetensors.h"
#include "sparse.h"
#include "spartan/session.h"

namespace spartan {

class TaskFile {
 public:
  // The file at `path`, which has to be one for `fleet`, whose inputs have at most `max_length` tokens. CommandError
  // names the first rule that it breaks.
  TaskFile(const std::string& path, const Fleet& fleet, uint64_t max_length);

  const std::string& name() const { return name_; }
  const std::string& problem() const { return problem_; }
  const std::vector<std::string>& labels() const { return labels_; }
  const std::vector<double>& thresholds() const { return thresholds_; }  // as of Manifest
  const Probe& probe() const { return *probe_; }
  // Views of the mapped file, in the program's order; of what is stored without zeros, of memory of their own.
  const std::vector<spartan_tensor>& tensors() const { return tensors_; }

 private:
  std::unique_ptr<Safetensors> file_;
  std::vector<AlignedBytes> expanded_;
  std::string name_;
  std::string problem_;
  std::vector<std::string> labels_;
  std::vector<double> thresholds_;
  std::vector<spartan_tensor> tensors_;
  std::optional<Probe> probe_;
};

}  // namespace spartan
#endif
