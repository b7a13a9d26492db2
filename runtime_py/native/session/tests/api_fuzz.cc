// The C interface, called in any order with any arguments that a caller could give by mistake: null pointers, wrong
// types, ranks, sizes and options. Every call returns a status; none writes outside what it was given.
#include <memory>

#include "driver.h"
#include "spartan/session.h"

namespace {

using fuzz::Bytes;

void require(bool condition, const char* what) {
  if (!condition) {
    fprintf(stderr, "FAILED: %s\n", what);
    abort();
  }
}

spartan_session* open_one(Bytes& in) {
  spartan_options options{};
  options.struct_size = in.byte() < 220 ? sizeof options : static_cast<uint32_t>(in.word());
  options.threads = in.byte() < 240 ? 1 : static_cast<int32_t>(in.word());
  options.weight_cache = in.byte() % 2;
  options.profile = in.byte() % 8 == 0;
  // A caller's struct is as large as it says; one that says more is read only as far as the library knows.
  char message[64];
  spartan_session* session = nullptr;
  const uint8_t kind = in.byte();
  const char* path = kind < 230 ? fuzz::file.c_str() : kind < 240 ? nullptr : kind < 250 ? "/nonexistent" : "/";
  const int32_t status = spartan_open(path, in.byte() % 5 == 0 ? nullptr : &options, in.byte() == 0 ? nullptr : &session,
                                      in.byte() % 7 == 0 ? nullptr : message, in.byte() % 3 == 0 ? 5 : sizeof message);
  require((status == SPARTAN_OK) == (session != nullptr) || session == nullptr, "a session without success");
  return session;
}

void run_one(Bytes& in, spartan_session* session) {
  if (in.byte() < 64) {
    char why[64];
    const auto least = static_cast<int32_t>(in.byte() < 128 ? in.size() : in.word());
    const int32_t set = spartan_set_min_length(session, least, why, sizeof why);
    require(set == SPARTAN_OK || set == SPARTAN_BAD_ARGUMENT, "a status that is none");
  }
  std::vector<spartan_tensor> tensors(in.byte() < 200 ? 2 : in.byte() % 5);
  std::vector<std::unique_ptr<uint8_t[]>> buffers;
  const int64_t length = in.size();
  const bool sound = in.byte() < 128;
  for (spartan_tensor& tensor : tensors) {
    tensor = {};
    tensor.dtype = sound || in.byte() < 200 ? SPARTAN_INT64 : static_cast<int32_t>(in.word());
    tensor.rank = sound || in.byte() < 200 ? 2 : static_cast<int32_t>(in.size());
    tensor.sizes[0] = sound || in.byte() < 200 ? 1 : in.size();
    tensor.sizes[1] = sound || in.byte() < 200 ? length : in.size();
    for (int d = 2; d < SPARTAN_MAX_RANK; ++d) {
      tensor.sizes[d] = in.size();
    }
    const bool small = length > 0 && length < 1000;
    tensor.bytes = small && in.byte() < 220 ? static_cast<uint64_t>(length) * 8 : in.word() % 4096;
    // Exactly as many bytes as are promised: one that is read beyond is the sanitizer's to find.
    buffers.push_back(std::make_unique<uint8_t[]>(tensor.bytes + 1));
    for (uint64_t i = 0; i + 8 <= tensor.bytes; i += 8) {
      const int64_t id = sound ? in.byte() % 50 : static_cast<int64_t>(in.byte() < 200 ? in.byte() : in.word());
      memcpy(buffers.back().get() + i, &id, sizeof id);
    }
    const uint8_t place = in.byte();
    tensor.data = place < 230 ? buffers.back().get() : place < 245 ? nullptr : buffers.back().get() + 1;
  }
  char message[200];
  const int32_t status = spartan_run(session, in.byte() == 1 ? nullptr : tensors.data(), tensors.size(), message, sizeof message);
  require(status >= SPARTAN_OK && status <= SPARTAN_INTERNAL, "a status that is none");
  spartan_tensor output{};
  for (size_t i = 0; i < 3; ++i) {
    if (spartan_output(session, i, &output) == SPARTAN_OK && output.bytes > 0) {
      volatile uint8_t last = static_cast<const uint8_t*>(output.data)[output.bytes - 1];
      (void)last;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes in(data, size);
  std::vector<spartan_session*> sessions;
  if (spartan_session* opened = open_one(in)) {
    sessions.push_back(opened);
  }
  for (int step = 0; step < 24 && !in.empty(); ++step) {
    spartan_session* session = sessions.empty() ? nullptr : sessions[in.byte() % sessions.size()];
    char message[100];
    switch (in.byte() % 12) {
      case 0:
        if (sessions.size() < 3) {
          if (spartan_session* opened = open_one(in)) {
            sessions.push_back(opened);
          }
        }
        break;
      case 1:
        spartan_close(session);
        for (size_t i = 0; i < sessions.size(); ++i) {
          if (sessions[i] == session) {
            sessions.erase(sessions.begin() + static_cast<std::ptrdiff_t>(i));
          }
        }
        break;
      case 2: {
        spartan_tensor_info info;
        const auto index = static_cast<size_t>(in.size());
        spartan_input_info(session, index, in.byte() % 9 == 0 ? nullptr : &info);
        spartan_output_info(session, index, &info);
        break;
      }
      case 3:
        spartan_set_bounds(session, static_cast<size_t>(in.size()), static_cast<size_t>(in.size()),
                           static_cast<int32_t>(in.size()), static_cast<int32_t>(in.size()), message, sizeof message);
        break;
      case 4: {
        spartan_statistics statistics{};
        statistics.struct_size = in.byte() % 2 == 0 ? sizeof statistics : in.byte() % sizeof statistics;
        spartan_statistics_of(session, &statistics);
        break;
      }
      case 5: {
        const void* profile = nullptr;
        size_t bytes = 0;
        if (spartan_profile(session, &profile, in.byte() == 0 ? nullptr : &bytes, message, sizeof message) == SPARTAN_OK) {
          require(profile != nullptr && bytes > 0, "an empty profile");
        }
        break;
      }
      case 6: {
        char name[40];
        for (char& c : name) {
          c = static_cast<char>(in.byte());
        }
        name[sizeof name - 1] = '\0';
        spartan_has_operator(in.byte() == 0 ? nullptr : name);
        spartan_has_backend(name);
        const char* family = nullptr;
        const auto index = static_cast<size_t>(in.size());
        const char* kernel = spartan_kernel(index, in.byte() == 0 ? nullptr : &family);
        require((kernel == nullptr) == (family == nullptr), "a kernel without its family");
        break;
      }
      default:
        run_one(in, session);
    }
  }
  for (spartan_session* session : sessions) {
    spartan_close(session);
  }
  return 0;
}
