// A bundle that answers requests: its program, and the tasks that were asked for so far.
#ifndef SPARTAN_SESSION_SERVICE_MODEL_H
#define SPARTAN_SESSION_SERVICE_MODEL_H

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../bundle.h"
#include "../options.h"
#include "../program.h"
#include "../task.h"
#include "request.h"

namespace spartan {

class Model {
 public:
  // Loads the program of `bundle`, which has one, and runs its probe. CommandError where it fails.
  Model(Bundle bundle, const Options& options);

  // The members of an answer, without braces. CommandError for what can't be answered.
  std::string answer(const Request& request);

  // Names of a fleet's tasks, those that can't be used included.
  const std::vector<std::string>& tasks() const { return names_; }
  std::vector<std::string> damaged_tasks() const;
  int max_length() const { return spartan_bundle_max_length(bundle_.handle.get()); }

 private:
  // Loaded again after it failed: ExecuTorch may have given up in the middle, and such a session answers nothing more.
  Program& program();
  const Task* open_task(const Request& request);
  std::vector<float> run(const Request& request, const Task* task);

  Bundle bundle_;
  Options options_;
  std::unique_ptr<Program> program_;  // null after it failed
  std::vector<std::string> names_;
  std::map<std::string, std::unique_ptr<Task>> open_;
};

}  // namespace spartan
#endif
