#include "model.h"

#include <algorithm>
#include <utility>

#include "../answer.h"
#include "../inputs.h"
#include "error.h"

namespace spartan {

Model::Model(Bundle bundle, const Options& options) : bundle_(std::move(bundle)), options_(options) {
  for (size_t i = 0; i < spartan_bundle_task_count(bundle_.handle.get()); ++i) {
    names_.push_back(spartan_bundle_task(bundle_.handle.get(), i));
  }
  if (!is_fleet(bundle_)) {
    check_probe(bundle_, nullptr, program());
  } else {
    program();
  }
}

Program& Model::program() {
  if (program_ == nullptr) {
    program_ = std::make_unique<Program>(bundle_, options_);
  }
  return *program_;
}

std::string Model::answer(const Request& request) {
  const Task* task = open_task(request);
  check_ids(request.input_ids.data(), request.input_ids.size(), bundle_);
  if (request.input_ids.size() > static_cast<size_t>(max_length())) {
    throw CommandError("`input_ids` has " + std::to_string(request.input_ids.size()) + " ids, at most " +
                       std::to_string(max_length()) + " are taken");
  }
  const std::vector<float> logits = run(request, task);
  return task != nullptr ? answer_with_scores(logits, task->labels(), spartan_task_problem(task->get()))
                         : answer_with_scores(logits, bundle_.labels, spartan_bundle_problem(bundle_.handle.get()));
}

std::vector<std::string> Model::damaged_tasks() const {
  std::vector<std::string> damaged;
  for (size_t i = 0; i < names_.size(); ++i) {
    if (spartan_bundle_task_damage(bundle_.handle.get(), i) != nullptr) {
      damaged.push_back(names_[i]);
    }
  }
  return damaged;
}

const Task* Model::open_task(const Request& request) {
  if (!is_fleet(bundle_)) {
    if (request.task) {
      throw CommandError("the bundle holds one task, so `task` has nothing to choose");
    }
    return nullptr;
  }
  std::string known = names_.empty() ? "it has none" : "";
  for (const std::string& name : names_) {
    known += (known.empty() ? "it has " : ", ") + name;
  }
  if (!request.task) {
    throw CommandError("the bundle is of several tasks, and a request needs `task`: " + known);
  }
  // By name alone: a file that a client names is none of its business.
  if (std::find(names_.begin(), names_.end(), *request.task) == names_.end()) {
    throw CommandError("the bundle has no task `" + *request.task + "`: " + known);
  }
  std::unique_ptr<Task>& task = open_[*request.task];
  if (task == nullptr) {
    auto opened = std::make_unique<Task>(bundle_, *request.task);
    check_probe(bundle_, opened.get(), program());
    task = std::move(opened);
  }
  return task.get();
}

std::vector<float> Model::run(const Request& request, const Task* task) {
  static const std::vector<spartan_tensor> kNone;
  const Row row = {request.input_ids, std::vector<int64_t>(request.input_ids.size(), 1)};
  try {
    program().run(inputs_of(row, task != nullptr ? task->tensors() : kNone));
  } catch (const CommandError& error) {
    if (error.exit_code == kExitInternal) {
      program_.reset();
    }
    throw;
  }
  return program_->logits();
}

}  // namespace spartan
