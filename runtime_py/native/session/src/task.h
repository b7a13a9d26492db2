// One task of a fleet, opened by libspartan.
#ifndef SPARTAN_SESSION_TASK_H
#define SPARTAN_SESSION_TASK_H

#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "spartan/bundle.h"

namespace spartan {

class Task {
 public:
  // `name_or_path` is a task of the fleet, or a task's file. CommandError if it is refused.
  Task(const Bundle& bundle, const std::string& name_or_path);

  const spartan_task* get() const { return handle_.get(); }
  // Views of the mapped file, in the program's order.
  const std::vector<spartan_tensor>& tensors() const { return tensors_; }
  const std::vector<Label>& labels() const { return labels_; }

 private:
  struct Close {
    void operator()(spartan_task* task) const { spartan_close_task(task); }
  };
  std::unique_ptr<spartan_task, Close> handle_;
  std::vector<spartan_tensor> tensors_;
  std::vector<Label> labels_;
};

}  // namespace spartan
#endif
