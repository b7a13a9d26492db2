// The C interface of bundle.h over the readers in formats/.
#include "spartan/bundle.h"

#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bounds.h"
#include "formats/bundle.h"
#include "formats/task.h"
#include "guard.h"
#include "rows.h"

struct spartan_bundle {
  spartan::BundleFiles files;
  std::string program;
};

struct spartan_task {
  spartan::TaskFile file;
};

namespace {

using spartan::fail;
using spartan::Failure;
using spartan::guarded;

constexpr size_t kMessageSize = 1024;

void require(const void* pointer, const char* what) {
  if (pointer == nullptr) {
    fail(SPARTAN_BAD_ARGUMENT, "no %s was given", what);
  }
}

const char* at(const std::vector<std::string>& texts, size_t index) {
  return index < texts.size() ? texts[index].c_str() : nullptr;
}

double at(const std::vector<double>& numbers, size_t index) { return index < numbers.size() ? numbers[index] : 0; }

// What a call of the session's interface answered, as an exception.
void check(int32_t status, const char* message) {
  if (status != SPARTAN_OK) {
    throw Failure{static_cast<spartan_status>(status), message};
  }
}

bool is_file(const char* path) {
  struct stat status {};
  return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

// A fleet's task by its name goes before a file of that name.
std::string task_path(const spartan::BundleFiles& bundle, const std::string& name_or_path) {
  std::string names;
  for (const spartan::Fleet::Entry& task : bundle.manifest.fleet->tasks) {
    if (task.name == name_or_path) {
      if (const auto damage = bundle.damaged.find(task.file); damage != bundle.damaged.end()) {
        throw Failure{SPARTAN_REFUSED, "the task `" + task.name + "` of bundle `" + bundle.directory +
                                           "` can't be used: " + damage->second + "; copy that file again"};
      }
      return bundle.directory + "/" + task.file;
    }
    names += (names.empty() ? "" : ", ") + task.name;
  }
  if (!is_file(name_or_path.c_str())) {
    throw Failure{SPARTAN_REFUSED, "there is no task `" + name_or_path + "`, in the fleet or as a file; the fleet has: " +
                                       (names.empty() ? "none" : names)};
  }
  return name_or_path;
}

// What the program needs of a runtime, this one has.
void check_needs(const std::vector<std::string>& names, int32_t (*has)(const char*), const char* kind) {
  for (const std::string& name : names) {
    if (has(name.c_str()) == 0) {
      throw Failure{SPARTAN_BAD_PROGRAM, "the bundle needs the " + std::string(kind) + " `" + name +
                                             "`, which this runtime does not have; compile it again with the spartanc "
                                             "of this runtime"};
    }
  }
}

void run_probe(const spartan::Probe& probe, const std::vector<spartan_tensor>& tensors, spartan_session* session) {
  std::vector<spartan_tensor> inputs = {spartan::row_tensor(probe.ids()), spartan::row_tensor(probe.mask())};
  inputs.insert(inputs.end(), tensors.begin(), tensors.end());
  char message[kMessageSize];
  const int32_t status = spartan_run(session, inputs.data(), inputs.size(), message, sizeof message);
  if (status != SPARTAN_OK) {  // whatever it was, it is the bundle that is refused
    throw Failure{SPARTAN_REFUSED, std::string("the probe cannot be run: ") + message};
  }
  spartan_tensor output{};
  check(spartan_output(session, 0, &output), "the program has no output");
  if (output.dtype != SPARTAN_FLOAT32) {
    fail(SPARTAN_REFUSED, "the program's first output is not float32");
  }
  const auto* logits = static_cast<const float*>(output.data);
  probe.check(std::vector<float>(logits, logits + output.bytes / sizeof(float)));
}

}  // namespace

int32_t spartan_open_bundle(const char* path, const char* public_key, spartan_bundle** bundle, char* message,
                            size_t message_size) {
  return guarded(message, message_size, [&] {
    require(path, "path");
    require(bundle, "place for the bundle");
    *bundle = nullptr;
    spartan::BundleFiles files = spartan::open_bundle_files(path, public_key == nullptr ? "" : public_key);
    const std::string program = files.program();
    *bundle = new spartan_bundle{std::move(files), program};
  });
}

void spartan_close_bundle(spartan_bundle* bundle) { delete bundle; }

const char* spartan_bundle_program(const spartan_bundle* bundle) {
  return bundle == nullptr ? nullptr : bundle->program.c_str();
}

const char* spartan_bundle_problem(const spartan_bundle* bundle) {
  return bundle == nullptr ? nullptr : bundle->files.manifest.problem.c_str();
}

const char* spartan_bundle_target(const spartan_bundle* bundle) {
  return bundle == nullptr ? nullptr : bundle->files.manifest.target.c_str();
}

const char* spartan_bundle_quantization(const spartan_bundle* bundle) {
  return bundle == nullptr ? nullptr : bundle->files.manifest.quantization.c_str();
}

const char* spartan_bundle_lowering(const spartan_bundle* bundle) {
  return bundle == nullptr ? nullptr : bundle->files.manifest.lowering.c_str();
}

int32_t spartan_bundle_max_length(const spartan_bundle* bundle) {
  return bundle == nullptr ? 0 : static_cast<int32_t>(bundle->files.manifest.max_length);
}

int32_t spartan_bundle_signature(const spartan_bundle* bundle) {
  return bundle == nullptr                 ? SPARTAN_NOT_SIGNED
         : bundle->files.signature_checked ? SPARTAN_SIGNATURE_GOOD
         : bundle->files.has_signature     ? SPARTAN_SIGNATURE_NOT_CHECKED
                                           : SPARTAN_NOT_SIGNED;
}

const char* spartan_bundle_manifest(const spartan_bundle* bundle, size_t* bytes) {
  if (bytes != nullptr) {
    *bytes = bundle == nullptr ? 0 : bundle->files.text.size();
  }
  return bundle == nullptr ? nullptr : bundle->files.text.c_str();
}

size_t spartan_bundle_label_count(const spartan_bundle* bundle) {
  return bundle == nullptr ? 0 : bundle->files.manifest.labels.size();
}

const char* spartan_bundle_label(const spartan_bundle* bundle, size_t index) {
  return bundle == nullptr ? nullptr : at(bundle->files.manifest.labels, index);
}

double spartan_bundle_threshold(const spartan_bundle* bundle, size_t index) {
  return bundle == nullptr ? 0 : at(bundle->files.manifest.thresholds, index);
}

size_t spartan_bundle_task_count(const spartan_bundle* bundle) {
  return bundle == nullptr || !bundle->files.manifest.fleet ? 0 : bundle->files.manifest.fleet->tasks.size();
}

const char* spartan_bundle_task(const spartan_bundle* bundle, size_t index) {
  return index < spartan_bundle_task_count(bundle) ? bundle->files.manifest.fleet->tasks[index].name.c_str() : nullptr;
}

const char* spartan_bundle_task_damage(const spartan_bundle* bundle, size_t index) {
  if (index >= spartan_bundle_task_count(bundle)) {
    return nullptr;
  }
  const auto damage = bundle->files.damaged.find(bundle->files.manifest.fleet->tasks[index].file);
  return damage == bundle->files.damaged.end() ? nullptr : damage->second.c_str();
}

int32_t spartan_open_task(const spartan_bundle* bundle, const char* name_or_path, spartan_task** task, char* message,
                          size_t message_size) {
  return guarded(message, message_size, [&] {
    require(bundle, "bundle");
    require(name_or_path, "name or path of a task");
    require(task, "place for the task");
    *task = nullptr;
    const spartan::Manifest& manifest = bundle->files.manifest;
    if (!manifest.fleet) {
      fail(SPARTAN_BAD_ARGUMENT, "bundle `%s` has no shared backbone, and so no tasks", bundle->files.directory.c_str());
    }
    const std::string path = task_path(bundle->files, name_or_path);
    *task = new spartan_task{spartan::TaskFile(path, *manifest.fleet, manifest.max_length)};
  });
}

void spartan_close_task(spartan_task* task) { delete task; }

const char* spartan_task_name(const spartan_task* task) {
  return task == nullptr ? nullptr : task->file.name().c_str();
}

const char* spartan_task_problem(const spartan_task* task) {
  return task == nullptr ? nullptr : task->file.problem().c_str();
}

size_t spartan_task_label_count(const spartan_task* task) { return task == nullptr ? 0 : task->file.labels().size(); }

const char* spartan_task_label(const spartan_task* task, size_t index) {
  return task == nullptr ? nullptr : at(task->file.labels(), index);
}

double spartan_task_threshold(const spartan_task* task, size_t index) {
  return task == nullptr ? 0 : at(task->file.thresholds(), index);
}

size_t spartan_task_tensor_count(const spartan_task* task) { return task == nullptr ? 0 : task->file.tensors().size(); }

int32_t spartan_task_tensor(const spartan_task* task, size_t index, spartan_tensor* tensor) {
  if (task == nullptr || tensor == nullptr || index >= task->file.tensors().size()) {
    return SPARTAN_BAD_ARGUMENT;
  }
  *tensor = task->file.tensors()[index];
  return SPARTAN_OK;
}

int32_t spartan_open_program(const spartan_bundle* bundle, const spartan_options* options, spartan_session** session,
                             char* message, size_t message_size) {
  return guarded(message, message_size, [&] {
    require(bundle, "bundle");
    require(session, "place for the session");
    *session = nullptr;
    check_needs(bundle->files.manifest.operators, spartan_has_operator, "operator");
    check_needs(bundle->files.manifest.backends, spartan_has_backend, "backend");
    char why[kMessageSize];
    spartan_session* opened = nullptr;
    check(spartan_open(bundle->program.c_str(), options, &opened, why, sizeof why), why);
    std::unique_ptr<spartan_session, void (*)(spartan_session*)> held(opened, spartan_close);
    spartan::narrow_inputs(opened, bundle->files.manifest.json);
    *session = held.release();
  });
}

int32_t spartan_check_probe(const spartan_bundle* bundle, const spartan_task* task, spartan_session* session,
                            char* message, size_t message_size) {
  return guarded(message, message_size, [&] {
    require(bundle, "bundle");
    require(session, "session");
    if (task != nullptr) {
      run_probe(task->file.probe(), task->file.tensors(), session);
    } else if (bundle->files.manifest.probe) {
      run_probe(*bundle->files.manifest.probe, {}, session);
    } else {
      fail(SPARTAN_BAD_ARGUMENT, "the bundle has a shared backbone: its probes are those of its tasks");
    }
  });
}
