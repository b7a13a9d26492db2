#include "task.h"

#include "error.h"
#include "program.h"

namespace spartan {

Task::Task(const Bundle& bundle, const std::string& name_or_path) {
  if (!is_fleet(bundle)) {
    throw CommandError("`--task` goes with a bundle of a shared backbone, which this is not");
  }
  char message[kMessageSize];
  spartan_task* opened = nullptr;
  check(spartan_open_task(bundle.handle.get(), name_or_path.c_str(), &opened, message, sizeof message), message);
  handle_.reset(opened);
  for (size_t i = 0; i < spartan_task_label_count(opened); ++i) {
    labels_.push_back({spartan_task_label(opened, i), spartan_task_threshold(opened, i)});
  }
  tensors_.resize(spartan_task_tensor_count(opened));
  for (size_t i = 0; i < tensors_.size(); ++i) {
    check(spartan_task_tensor(opened, i, &tensors_[i]), "a task has fewer tensors than it says");
  }
}

}  // namespace spartan
