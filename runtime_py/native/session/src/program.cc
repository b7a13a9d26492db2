#include "program.h"

#include "error.h"
#include "mapped_file.h"
#include "safetensors.h"

namespace spartan {

namespace {

int exit_code_of(int32_t status) {
  const bool users = status == SPARTAN_BAD_ARGUMENT || status == SPARTAN_BAD_FILE || status == SPARTAN_BAD_PROGRAM ||
                     status == SPARTAN_BAD_INPUT || status == SPARTAN_REFUSED;
  return users ? kExitUsage : status == SPARTAN_NO_CRYPTO ? kExitMissing : kExitInternal;
}

}  // namespace

void check(int32_t status, const char* message) {
  if (status != SPARTAN_OK) {
    throw CommandError(message, exit_code_of(status));
  }
}

Program::Program(const Bundle& bundle, const Options& options) {
  spartan_options chosen{};
  chosen.struct_size = sizeof chosen;
  chosen.threads = static_cast<int32_t>(options.whole("--threads", 0, 1, 256));
  chosen.weight_cache = options.has("--weight-cache") ? 1 : 0;
  chosen.profile = options.has("--profile") ? 1 : 0;
  char message[kMessageSize];
  spartan_session* opened = nullptr;
  const int32_t status = bundle.handle == nullptr
                             ? spartan_open(bundle.program.c_str(), &chosen, &opened, message, sizeof message)
                             : spartan_open_program(bundle.handle.get(), &chosen, &opened, message, sizeof message);
  check(status, message);
  session_.reset(opened);
}

void Program::run(const std::vector<spartan_tensor>& inputs) {
  char message[kMessageSize];
  check(spartan_run(session_.get(), inputs.data(), inputs.size(), message, sizeof message), message);
}

std::vector<float> Program::logits() const {
  spartan_tensor output{};
  check(spartan_output(session_.get(), 0, &output), "the program has no output");
  if (output.dtype != SPARTAN_FLOAT32) {
    throw CommandError("the program's first output is not float32");
  }
  const auto* values = static_cast<const float*>(output.data);
  return std::vector<float>(values, values + output.bytes / sizeof(float));
}

spartan_statistics Program::statistics() const {
  spartan_statistics all{};
  all.struct_size = sizeof all;
  check(spartan_statistics_of(session_.get(), &all), "no statistics");
  return all;
}

void Program::write_profile(const std::string& path) {
  char message[kMessageSize];
  const void* data = nullptr;
  size_t bytes = 0;
  check(spartan_profile(session_.get(), &data, &bytes, message, sizeof message), message);
  write_whole(path, data, bytes);
}

}  // namespace spartan
