// One session a thread: each opens, runs, checks and closes its own, again and again, while the others do.
//
//     threads_test PROGRAM [THREADS] [SECONDS]
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "spartan/session.h"

namespace {

std::atomic<int> wrong{0};
std::atomic<long> answers{0};

std::vector<float> answer(spartan_session* session, int64_t first) {
  int64_t ids[8], mask[8];
  for (int i = 0; i < 8; ++i) {
    ids[i] = (first + 3 * i) % 50;
    mask[i] = 1;
  }
  spartan_tensor inputs[2] = {};
  for (int i = 0; i < 2; ++i) {
    inputs[i].dtype = SPARTAN_INT64;
    inputs[i].rank = 2;
    inputs[i].sizes[0] = 1;
    inputs[i].sizes[1] = 8;
    inputs[i].data = i == 0 ? ids : mask;
    inputs[i].bytes = sizeof ids;
  }
  char message[300];
  spartan_tensor output{};
  if (spartan_run(session, inputs, 2, message, sizeof message) != SPARTAN_OK ||
      spartan_output(session, 0, &output) != SPARTAN_OK) {
    fprintf(stderr, "FAILED: %s\n", message);
    ++wrong;
    return {};
  }
  const auto* values = static_cast<const float*>(output.data);
  return {values, values + output.bytes / sizeof(float)};
}

spartan_session* opened(const char* path) {
  spartan_options options{};
  options.struct_size = sizeof options;
  options.threads = 1;
  char message[300];
  spartan_session* session = nullptr;
  if (spartan_open(path, &options, &session, message, sizeof message) != SPARTAN_OK) {
    fprintf(stderr, "FAILED: %s\n", message);
    exit(1);
  }
  return session;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    return 2;
  }
  const char* path = argv[1];
  const int threads = argc > 2 ? atoi(argv[2]) : 8;
  const double seconds = argc > 3 ? atof(argv[3]) : 2;
  std::vector<std::vector<float>> expected;
  spartan_session* alone = opened(path);
  for (int64_t i = 0; i < 50; ++i) {
    expected.push_back(answer(alone, i));
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int64_t i = t; std::chrono::steady_clock::now() < end;) {
        spartan_session* session = opened(path);
        for (int k = 0; k < 20; ++k, ++i) {
          wrong += answer(session, i % 50) != expected[static_cast<size_t>(i % 50)];
          ++answers;
        }
        spartan_close(session);
      }
    });
  }
  for (std::thread& thread : all) {
    thread.join();
  }
  spartan_close(alone);
  printf("%ld answers of %d threads, %d wrong\n", answers.load(), threads, wrong.load());
  return wrong == 0 ? 0 : 1;
}
