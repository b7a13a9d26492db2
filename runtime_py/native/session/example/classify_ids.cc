// classify_ids BUNDLE [--task TASK] ID...      the answer of a bundle to one row of token ids
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <spartan/bundle.h>

namespace {

char message[1024];

// Ends with the library's message for anything but SPARTAN_OK.
void check(int32_t status) {
  if (status != SPARTAN_OK) {
    std::fprintf(stderr, "error: %s\n", message);
    std::exit(2);
  }
}

spartan_tensor row(const std::vector<int64_t>& values) {
  spartan_tensor tensor{};
  tensor.dtype = SPARTAN_INT64;
  tensor.rank = 2;
  tensor.sizes[0] = 1;
  tensor.sizes[1] = static_cast<int64_t>(values.size());
  tensor.data = values.data();
  tensor.bytes = values.size() * sizeof(int64_t);
  return tensor;
}

}  // namespace

int main(int argc, char** argv) {
  const bool has_task = argc > 3 && std::strcmp(argv[2], "--task") == 0;
  const int first_id = has_task ? 4 : 2;
  if (argc <= first_id) {
    std::fprintf(stderr, "usage: classify_ids BUNDLE [--task TASK] ID...\n");
    return 2;
  }
  std::vector<int64_t> ids;
  for (int i = first_id; i < argc; ++i) {
    ids.push_back(std::strtoll(argv[i], nullptr, 10));
  }
  const std::vector<int64_t> mask(ids.size(), 1);

  // Checks every file of the bundle. The second argument may be the path of a public key; null requires no signature.
  spartan_bundle* bundle = nullptr;
  check(spartan_open_bundle(argv[1], nullptr, &bundle, message, sizeof message));
  const std::unique_ptr<spartan_bundle, void (*)(spartan_bundle*)> close_bundle(bundle, spartan_close_bundle);

  // A task of a bundle with a shared backbone. Going to another task later takes no more than another open_task.
  spartan_task* task = nullptr;
  if (has_task) {
    check(spartan_open_task(bundle, argv[3], &task, message, sizeof message));
  }
  const std::unique_ptr<spartan_task, void (*)(spartan_task*)> close_task(task, spartan_close_task);

  spartan_options options{};
  options.struct_size = sizeof options;
  options.threads = 1;
  spartan_session* session = nullptr;
  check(spartan_open_program(bundle, &options, &session, message, sizeof message));
  const std::unique_ptr<spartan_session, void (*)(spartan_session*)> close_session(session, spartan_close);

  // Once before the first answer: a program, or a task, that does not compute what it should ends here.
  check(spartan_check_probe(bundle, task, session, message, sizeof message));

  std::vector<spartan_tensor> inputs = {row(ids), row(mask)};
  for (size_t i = 0; task != nullptr && i < spartan_task_tensor_count(task); ++i) {
    inputs.emplace_back();
    check(spartan_task_tensor(task, i, &inputs.back()));
  }
  check(spartan_run(session, inputs.data(), inputs.size(), message, sizeof message));
  spartan_tensor logits{};
  check(spartan_output(session, 0, &logits));
  for (size_t i = 0; i < logits.bytes / sizeof(float); ++i) {
    const char* label = task != nullptr ? spartan_task_label(task, i) : spartan_bundle_label(bundle, i);
    std::printf("%s\t%g\n", label != nullptr ? label : "score", static_cast<const float*>(logits.data)[i]);
  }
  return 0;
}
