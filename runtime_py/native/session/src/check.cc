#include <cstdio>
#include <string>
#include <vector>

#include "bundle.h"
#include "commands.h"
#include "error.h"
#include "json.h"
#include "print.h"
#include "task.h"

namespace spartan {

namespace {

std::vector<std::string> names(const std::vector<Label>& labels) {
  std::vector<std::string> found;
  for (const Label& each : labels) {
    found.push_back(each.name);
  }
  return found;
}

}  // namespace

// What a reader knows before it loads a program.
int check_files(const Options& options) {
  const Bundle bundle = open_bundle(options.bundle, options.text("--require-signature"));
  const spartan_bundle* handle = bundle.handle.get();
  if (handle == nullptr) {
    throw CommandError("`" + options.bundle + "` is not a bundle directory");
  }
  if (options.has("--task")) {
    const Task task(bundle, options.text("--task"));
    printf("{\"task\":%s,\"problem\":%s,\"labels\":%s,\"tensors\":%zu}\n",
           json_quote(spartan_task_name(task.get())).c_str(), json_quote(spartan_task_problem(task.get())).c_str(),
           texts(names(task.labels())).c_str(), task.tensors().size());
    return 0;
  }
  std::vector<std::string> tasks;
  for (size_t i = 0; i < spartan_bundle_task_count(handle); ++i) {
    if (const char* damage = spartan_bundle_task_damage(handle, i)) {
      throw CommandError("bundle `" + options.bundle + "`: " + damage);
    }
    tasks.push_back(spartan_bundle_task(handle, i));
  }
  printf("{\"bundle\":%s,\"target\":%s,\"problem\":%s,\"labels\":%s,\"tasks\":%s,\"max_length\":%d,\"quantization\":%s,"
         "\"lowering\":%s,\"signature\":\"%s\"}\n",
         json_quote(options.bundle).c_str(), json_quote(spartan_bundle_target(handle)).c_str(),
         json_quote(spartan_bundle_problem(handle)).c_str(), texts(names(bundle.labels)).c_str(), texts(tasks).c_str(),
         spartan_bundle_max_length(handle), json_quote(spartan_bundle_quantization(handle)).c_str(),
         json_quote(spartan_bundle_lowering(handle)).c_str(), signature_text(bundle).c_str());
  return 0;
}

}  // namespace spartan
