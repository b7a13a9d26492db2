#include "spartan/session.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <executorch/devtools/etdump/etdump_flatcc.h>
#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/kernel/operator_registry.h>

#include "../../bindings/kernels.h"
#include "guard.h"
#include "pool.h"

namespace {

namespace runtime = executorch::runtime;
using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::etdump::ETDumpGen;
using executorch::extension::MallocMemoryAllocator;
using executorch::extension::MmapDataLoader;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Program;
using executorch::runtime::Tag;
using spartan::Aborted;
using spartan::claim_pool;
using spartan::fail;
using spartan::fail_with_log;
using spartan::Failure;
using spartan::guarded;
using spartan::initialize_once;
using spartan::LoggedCall;
using spartan::release_pool;
using spartan::set_weight_cache;
using Clock = std::chrono::steady_clock;

constexpr int32_t kMostThreads = 256;
constexpr size_t kPlannedAlignment = 64;  // a cache line, as programs are planned

struct DtypeRow {
  spartan_dtype dtype;
  ScalarType scalar;
  size_t size;
  const char* name;
};

constexpr DtypeRow kDtypes[] = {
    {SPARTAN_FLOAT32, ScalarType::Float, 4, "float32"}, {SPARTAN_INT64, ScalarType::Long, 8, "int64"},
    {SPARTAN_INT32, ScalarType::Int, 4, "int32"},       {SPARTAN_INT8, ScalarType::Char, 1, "int8"},
    {SPARTAN_UINT8, ScalarType::Byte, 1, "uint8"},      {SPARTAN_BOOL, ScalarType::Bool, 1, "bool"},
    {SPARTAN_FLOAT16, ScalarType::Half, 2, "float16"},
};

const DtypeRow* find_dtype(int32_t dtype) {
  for (const DtypeRow& row : kDtypes) {
    if (row.dtype == dtype) {
      return &row;
    }
  }
  return nullptr;
}

const DtypeRow* find_dtype(ScalarType scalar) {
  for (const DtypeRow& row : kDtypes) {
    if (row.scalar == scalar) {
      return &row;
    }
  }
  return nullptr;
}

const char* dtype_name(int32_t dtype) {
  const DtypeRow* row = find_dtype(dtype);
  return row != nullptr ? row->name : "a type this library does not know";
}

uint64_t nanoseconds_since(Clock::time_point start) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
}

std::string shape_text(const int64_t* sizes, size_t rank) {
  std::string text = "[";
  for (size_t i = 0; i < rank; ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(sizes[i]);
  }
  return text + "]";
}

uint64_t peak_rss_bytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

struct TensorSpec {
  spartan_tensor_info info{};
};

TensorSpec spec_of(const runtime::TensorInfo& meta, bool is_static, const char* kind, size_t index) {
  TensorSpec spec;
  const DtypeRow* row = find_dtype(meta.scalar_type());
  spec.info.dtype = row != nullptr ? row->dtype : SPARTAN_OTHER_DTYPE;
  if (meta.sizes().size() > SPARTAN_MAX_RANK) {
    fail(SPARTAN_BAD_PROGRAM, "%s %zu has %zu dimensions, at most %d are supported", kind, index,
         meta.sizes().size(), SPARTAN_MAX_RANK);
  }
  spec.info.rank = static_cast<int32_t>(meta.sizes().size());
  spec.info.is_static = is_static ? 1 : 0;
  for (int32_t d = 0; d < spec.info.rank; ++d) {
    const int32_t size = meta.sizes()[static_cast<size_t>(d)];
    spec.info.max_sizes[d] = size;
    spec.info.min_sizes[d] = is_static ? size : std::min(size, 1);
  }
  return spec;
}

}  // namespace

// Ids and mask [1, length] of the shortest row that the program takes; length 0 where it takes every one.
struct ShortestRow {
  std::vector<int64_t> ids;
  std::vector<int64_t> mask;

  int64_t length() const { return static_cast<int64_t>(ids.size()); }
};

struct spartan_session {
  std::unique_ptr<MmapDataLoader> loader;
  std::unique_ptr<Program> program;
  std::unique_ptr<ETDumpGen> tracer;
  MallocMemoryAllocator method_allocator;
  MallocMemoryAllocator temporary_allocator;
  // Not set to zero: what shorter inputs than the longest never reach takes no memory.
  std::vector<std::unique_ptr<uint8_t[]>> planned;
  std::vector<runtime::Span<uint8_t>> planned_spans;
  std::unique_ptr<runtime::HierarchicalAllocator> planned_allocator;
  std::unique_ptr<runtime::MemoryManager> memory;
  std::unique_ptr<runtime::Method> method;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<spartan_tensor> results;
  ShortestRow shortest;
  std::unique_ptr<void, void (*)(void*)> profile{nullptr, free};
  size_t profile_bytes = 0;
  uint32_t threads = 0;
  uint64_t load_ns = 0, last_run_ns = 0, last_inputs_ns = 0, total_run_ns = 0, runs = 0, planned_bytes = 0, program_bytes = 0;
  bool claimed_pool = false;
  bool broken = false;
};

namespace {

void load_program(spartan_session& session, const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == nullptr) {
    fail(SPARTAN_BAD_FILE, "cannot read `%s`: %s", path, strerror(errno));
  }
  const bool empty = fgetc(file) == EOF;
  fclose(file);
  if (empty) {
    fail(SPARTAN_BAD_FILE, "`%s` is empty or cannot be read", path);
  }
  auto loader = MmapDataLoader::from(path, MmapDataLoader::MlockConfig::NoMlock);
  if (!loader.ok()) {
    fail_with_log(SPARTAN_BAD_FILE, std::string("cannot map `") + path + "`", loader.error());
  }
  session.loader = std::make_unique<MmapDataLoader>(std::move(loader.get()));
  session.program_bytes = session.loader->size().get();
  auto program = Program::load(session.loader.get(), Program::Verification::InternalConsistency);
  if (!program.ok()) {
    fail_with_log(SPARTAN_BAD_PROGRAM, std::string("`") + path + "` is not a valid program", program.error());
  }
  session.program = std::make_unique<Program>(std::move(program.get()));
}

void load_method(spartan_session& session, const char* path, bool profile) {
  const auto meta = session.program->method_meta("forward");
  if (!meta.ok()) {
    fail_with_log(SPARTAN_BAD_PROGRAM, std::string("`") + path + "` has no method `forward`", meta.error());
  }
  for (size_t i = 0; i < meta->num_memory_planned_buffers(); ++i) {
    const auto size = meta->memory_planned_buffer_size(i);
    if (!size.ok() || size.get() < 0) {
      fail(SPARTAN_BAD_PROGRAM, "`%s` states no size for planned buffer %zu", path, i);
    }
    const auto bytes = static_cast<size_t>(size.get());
    session.planned.emplace_back(new uint8_t[bytes + kPlannedAlignment]);
    const auto address = reinterpret_cast<uintptr_t>(session.planned.back().get());
    const size_t skipped = (kPlannedAlignment - address % kPlannedAlignment) % kPlannedAlignment;
    session.planned_spans.emplace_back(session.planned.back().get() + skipped, bytes);
    session.planned_bytes += bytes;
  }
  session.planned_allocator = std::make_unique<runtime::HierarchicalAllocator>(
      runtime::Span<runtime::Span<uint8_t>>(session.planned_spans.data(), session.planned_spans.size()));
  session.memory = std::make_unique<runtime::MemoryManager>(&session.method_allocator, session.planned_allocator.get(),
                                                            &session.temporary_allocator);
  if (profile) {
    session.tracer = std::make_unique<ETDumpGen>();
  }
  auto method = session.program->load_method("forward", session.memory.get(), session.tracer.get());
  if (!method.ok()) {
    fail_with_log(SPARTAN_BAD_PROGRAM, std::string("`") + path + "` cannot be loaded", method.error());
  }
  session.method = std::make_unique<runtime::Method>(std::move(method.get()));
}

void describe(spartan_session& session, const char* path) {
  const auto meta = session.method->method_meta();
  for (size_t i = 0; i < meta.num_inputs(); ++i) {
    const auto tag = meta.input_tag(i);
    if (!tag.ok() || tag.get() != Tag::Tensor) {
      fail(SPARTAN_BAD_PROGRAM, "input %zu of `%s` is not a tensor", i, path);
    }
    const auto tensor = meta.input_tensor_meta(i);
    if (!tensor.ok()) {
      fail_with_log(SPARTAN_BAD_PROGRAM, "an input of the program has no description", tensor.error());
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    // The description does not say whether a shape is static; the value does.
    const TensorImpl* value = session.method->get_input(i).toTensor().unsafeGetTensorImpl();
#pragma GCC diagnostic pop
    const bool is_static = value->shape_dynamism() == executorch::runtime::TensorShapeDynamism::STATIC;
    session.inputs.push_back(spec_of(tensor.get(), is_static, "input", i));
  }
  for (size_t i = 0; i < meta.num_outputs(); ++i) {
    const auto tag = meta.output_tag(i);
    const auto tensor = meta.output_tensor_meta(i);
    if (!tag.ok() || tag.get() != Tag::Tensor || !tensor.ok()) {
      fail(SPARTAN_BAD_PROGRAM, "output %zu of `%s` is not a tensor", i, path);
    }
    session.outputs.push_back(spec_of(tensor.get(), false, "output", i));
  }
}

void check_input(const TensorSpec& spec, const spartan_tensor& tensor, size_t index) {
  const spartan_tensor_info& info = spec.info;
  if (tensor.dtype != info.dtype) {
    fail(SPARTAN_BAD_INPUT, "input %zu must be %s, got %s", index, dtype_name(info.dtype), dtype_name(tensor.dtype));
  }
  if (tensor.rank != info.rank) {
    fail(SPARTAN_BAD_INPUT, "input %zu must have %d dimensions, got %d", index, info.rank, tensor.rank);
  }
  const std::string shape = shape_text(tensor.sizes, static_cast<size_t>(tensor.rank));
  uint64_t bytes = find_dtype(tensor.dtype)->size;
  for (int32_t d = 0; d < info.rank; ++d) {
    const int64_t size = tensor.sizes[d];
    if (size < info.min_sizes[d] || size > info.max_sizes[d]) {
      fail(SPARTAN_BAD_INPUT, "dimension %d of input %zu must be within %d and %d, got %s", d, index,
           info.min_sizes[d], info.max_sizes[d], shape.c_str());
    }
    bytes *= static_cast<uint64_t>(size);
  }
  if (tensor.bytes != bytes) {
    fail(SPARTAN_BAD_INPUT, "input %zu of shape %s must be %llu bytes, got %llu", index, shape.c_str(),
         static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(tensor.bytes));
  }
  if (tensor.data == nullptr && bytes > 0) {
    fail(SPARTAN_BAD_INPUT, "input %zu has no data", index);
  }
  if (reinterpret_cast<uintptr_t>(tensor.data) % find_dtype(tensor.dtype)->size != 0) {
    fail(SPARTAN_BAD_INPUT, "the data of input %zu is not aligned to its element size", index);
  }
}

// The first two inputs are the ids and their mask: one shape.
void check_inputs(const spartan_session& session, const spartan_tensor* inputs, size_t count) {
  if (count != session.inputs.size()) {
    fail(SPARTAN_BAD_INPUT, "the program takes %zu inputs, got %zu", session.inputs.size(), count);
  }
  for (size_t i = 0; i < count; ++i) {
    check_input(session.inputs[i], inputs[i], i);
  }
  const bool ids_and_mask = count >= 2 && inputs[0].dtype == SPARTAN_INT64 && inputs[1].dtype == SPARTAN_INT64 &&
                            inputs[0].rank == 2 && inputs[1].rank == 2;
  if (ids_and_mask && (inputs[0].sizes[0] != inputs[1].sizes[0] || inputs[0].sizes[1] != inputs[1].sizes[1])) {
    fail(SPARTAN_BAD_INPUT, "ids and mask must have one shape, got %s and %s", shape_text(inputs[0].sizes, 2).c_str(),
         shape_text(inputs[1].sizes, 2).c_str());
  }
}

// Whether an input is a row of ids or their mask, int64 [1, L].
bool takes_rows(const TensorSpec& spec) {
  return spec.info.dtype == SPARTAN_INT64 && spec.info.rank == 2 && spec.info.max_sizes[0] == 1;
}

// `inputs`, whose ids and mask are shorter than `row` and now are that row: their own values, and zeros behind them.
std::vector<spartan_tensor> padded(ShortestRow& row, const spartan_tensor* inputs, size_t count) {
  std::vector<spartan_tensor> all(inputs, inputs + count);
  std::vector<int64_t>* rows[] = {&row.ids, &row.mask};
  for (size_t i = 0; i < std::size(rows); ++i) {
    std::fill(rows[i]->begin(), rows[i]->end(), 0);
    memcpy(rows[i]->data(), inputs[i].data, inputs[i].bytes);
    all[i].sizes[1] = row.length();
    all[i].data = rows[i]->data();
    all[i].bytes = rows[i]->size() * sizeof(int64_t);
  }
  return all;
}

struct InputTensor {
  TensorImpl::SizesType sizes[SPARTAN_MAX_RANK];
  TensorImpl::DimOrderType order[SPARTAN_MAX_RANK];
  TensorImpl::StridesType strides[SPARTAN_MAX_RANK];
  std::optional<TensorImpl> impl;
};

// Whether the program reads input `index` out of `source` already, as after a run of the same task: a task has dozens of
// inputs, and handing each over again would cost a short text more than a hundredth of its time.
bool reads_already(const spartan_session& session, const spartan_tensor& source, size_t index) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  const Tensor& held = session.method->get_input(index).toTensor();
#pragma GCC diagnostic pop
  // An input with planned memory of its own never stands where the caller's data do.
  if (held.const_data_ptr() != source.data || source.data == nullptr) {
    return false;
  }
  for (int32_t d = 0; d < source.rank; ++d) {
    if (held.size(d) != source.sizes[d]) {
      return false;
    }
  }
  return true;
}

void set_inputs(spartan_session& session, const spartan_tensor* inputs, size_t count) {
  std::vector<InputTensor> tensors(count);
  for (size_t i = 0; i < count; ++i) {
    const spartan_tensor& source = inputs[i];
    if (reads_already(session, source, i)) {
      continue;
    }
    InputTensor& tensor = tensors[i];
    TensorImpl::StridesType stride = 1;
    for (int32_t d = source.rank - 1; d >= 0; --d) {
      tensor.sizes[d] = static_cast<TensorImpl::SizesType>(source.sizes[d]);
      tensor.order[d] = static_cast<TensorImpl::DimOrderType>(d);
      tensor.strides[d] = stride;
      stride *= tensor.sizes[d];
    }
    // The program only reads its inputs: they are never outputs, and the compiler emits no in-place operator on them.
    tensor.impl.emplace(find_dtype(source.dtype)->scalar, source.rank, tensor.sizes, const_cast<void*>(source.data),
                        tensor.order, tensor.strides);
    const Error error = session.method->set_input(EValue(Tensor(&*tensor.impl)), i);
    if (error != Error::Ok) {
      fail_with_log(SPARTAN_BAD_INPUT, "the program refused input " + std::to_string(i), error);
    }
  }
}

void read_outputs(spartan_session& session) {
  session.results.clear();
  for (size_t i = 0; i < session.outputs.size(); ++i) {
    const EValue& value = session.method->get_output(i);
    if (!value.isTensor()) {
      fail(SPARTAN_RUN_FAILED, "output %zu is not a tensor", i);
    }
    const Tensor& tensor = value.toTensor();
    const DtypeRow* row = find_dtype(tensor.scalar_type());
    spartan_tensor result{};
    result.dtype = row != nullptr ? row->dtype : SPARTAN_OTHER_DTYPE;
    result.rank = static_cast<int32_t>(tensor.dim());
    for (int32_t d = 0; d < result.rank; ++d) {
      result.sizes[d] = tensor.size(d);
    }
    result.data = tensor.const_data_ptr();
    result.bytes = tensor.nbytes();
    session.results.push_back(result);
  }
}

void require(bool condition, const char* message) {
  if (!condition) {
    fail(SPARTAN_BAD_ARGUMENT, "%s", message);
  }
}

}  // namespace

extern "C" {

int32_t spartan_api_version(void) { return SPARTAN_API_VERSION; }

int32_t spartan_has_operator(const char* name) {
  initialize_once();
  return name != nullptr && runtime::registry_has_op_function(name) ? 1 : 0;
}

const char* spartan_kernel(size_t index, const char** family) {
  return family != nullptr ? spartan_ops_kernel(index, family) : nullptr;
}

int32_t spartan_has_backend(const char* name) {
  initialize_once();
  return name != nullptr && runtime::get_backend_class(name) != nullptr ? 1 : 0;
}

int32_t spartan_open(const char* path, const spartan_options* options, spartan_session** session, char* message,
                     size_t message_size) {
  if (session != nullptr) {
    *session = nullptr;
  }
  std::unique_ptr<spartan_session, void (*)(spartan_session*)> opened(nullptr, spartan_close);
  return guarded(message, message_size, [&] {
    require(path != nullptr && session != nullptr, "path and session must not be null");
    spartan_options chosen{};
    if (options != nullptr) {
      require(options->struct_size >= sizeof(uint32_t), "options.struct_size is too small");
      memcpy(&chosen, options, std::min<size_t>(options->struct_size, sizeof chosen));
    }
    if (chosen.threads < 0 || chosen.threads > kMostThreads) {
      fail(SPARTAN_BAD_ARGUMENT, "threads must be within 0 and %d, got %d", kMostThreads, chosen.threads);
    }
    initialize_once();
    const LoggedCall logged;
    opened.reset(new spartan_session());
    try {
      const auto start = Clock::now();
      opened->threads = claim_pool(chosen.threads);
      opened->claimed_pool = true;
      load_program(*opened, path);
      set_weight_cache(chosen.weight_cache != 0);
      load_method(*opened, path, chosen.profile != 0);
      describe(*opened, path);
      opened->load_ns = nanoseconds_since(start);
    } catch (const Aborted&) {
      opened->broken = true;
      throw Failure{SPARTAN_BAD_PROGRAM, std::string("`") + path + "` cannot be loaded: " + LoggedCall::text()};
    }
    *session = opened.release();
  });
}

void spartan_close(spartan_session* session) {
  if (session == nullptr) {
    return;
  }
  const bool claimed = session->claimed_pool;
  if (!session->broken) {
    try {
      const LoggedCall logged;
      session->method.reset();
      delete session;
    } catch (...) {  // ExecuTorch gave up while freeing: what is left stays allocated.
    }
  }
  if (claimed) {
    release_pool();
  }
}

size_t spartan_input_count(const spartan_session* session) { return session == nullptr ? 0 : session->inputs.size(); }

size_t spartan_output_count(const spartan_session* session) {
  return session == nullptr ? 0 : session->outputs.size();
}

int32_t spartan_input_info(const spartan_session* session, size_t index, spartan_tensor_info* info) {
  if (session == nullptr || info == nullptr || index >= session->inputs.size()) {
    return SPARTAN_BAD_ARGUMENT;
  }
  *info = session->inputs[index].info;
  return SPARTAN_OK;
}

int32_t spartan_output_info(const spartan_session* session, size_t index, spartan_tensor_info* info) {
  if (session == nullptr || info == nullptr || index >= session->outputs.size()) {
    return SPARTAN_BAD_ARGUMENT;
  }
  *info = session->outputs[index].info;
  return SPARTAN_OK;
}

int32_t spartan_set_bounds(spartan_session* session, size_t input, size_t dimension, int32_t minimum, int32_t maximum,
                           char* message, size_t message_size) {
  return guarded(message, message_size, [&] {
    require(session != nullptr, "session must not be null");
    require(input < session->inputs.size(), "no such input");
    spartan_tensor_info& info = session->inputs[input].info;
    require(dimension < static_cast<size_t>(info.rank), "no such dimension");
    if (minimum > maximum || minimum < info.min_sizes[dimension] || maximum > info.max_sizes[dimension]) {
      fail(SPARTAN_BAD_ARGUMENT, "bounds of dimension %zu of input %zu must be within %d and %d, got %d and %d",
           dimension, input, info.min_sizes[dimension], info.max_sizes[dimension], minimum, maximum);
    }
    info.min_sizes[dimension] = minimum;
    info.max_sizes[dimension] = maximum;
  });
}

int32_t spartan_set_min_length(spartan_session* session, int32_t min_length, char* message, size_t message_size) {
  return guarded(message, message_size, [&] {
    require(session != nullptr, "session must not be null");
    require(session->inputs.size() >= 2 && takes_rows(session->inputs[0]) && takes_rows(session->inputs[1]),
            "the program does not take ids and mask, int64 [1, L]");
    for (size_t i = 0; i < 2; ++i) {
      const spartan_tensor_info& info = session->inputs[i].info;
      if (min_length < info.min_sizes[1] || min_length > info.max_sizes[1]) {
        fail(SPARTAN_BAD_ARGUMENT, "the least length of input %zu must be within %d and %d, got %d", i,
             info.min_sizes[1], info.max_sizes[1], min_length);
      }
    }
    session->shortest.ids.assign(static_cast<size_t>(min_length), 0);
    session->shortest.mask.assign(static_cast<size_t>(min_length), 0);
  });
}

int32_t spartan_run(spartan_session* session, const spartan_tensor* inputs, size_t count, char* message,
                    size_t message_size) {
  return guarded(message, message_size, [&] {
    require(session != nullptr && (inputs != nullptr || count == 0), "session and inputs must not be null");
    if (session->broken) {
      fail(SPARTAN_RUN_FAILED, "the session failed before and cannot be used again");
    }
    session->results.clear();
    check_inputs(*session, inputs, count);
    const LoggedCall logged;
    try {
      const auto start = Clock::now();
      std::vector<spartan_tensor> longer;
      if (count >= 2 && inputs[0].sizes[1] < session->shortest.length()) {
        longer = padded(session->shortest, inputs, count);
        inputs = longer.data();
      }
      set_inputs(*session, inputs, count);
      session->last_inputs_ns = nanoseconds_since(start);
      if (session->tracer != nullptr) {
        session->tracer->create_event_block("Execute");
      }
      const Error error = session->method->execute();
      if (error != Error::Ok) {
        fail_with_log(SPARTAN_RUN_FAILED, "the program failed while it ran", error);
      }
      session->last_run_ns = nanoseconds_since(start);
      session->total_run_ns += session->last_run_ns;
      ++session->runs;
      read_outputs(*session);
    } catch (const Aborted&) {
      session->broken = true;
      throw Failure{SPARTAN_RUN_FAILED, "the program failed while it ran: " + LoggedCall::text()};
    }
  });
}

int32_t spartan_output(const spartan_session* session, size_t index, spartan_tensor* output) {
  if (session == nullptr || output == nullptr || index >= session->results.size()) {
    return SPARTAN_BAD_ARGUMENT;
  }
  *output = session->results[index];
  return SPARTAN_OK;
}

int32_t spartan_statistics_of(const spartan_session* session, spartan_statistics* statistics) {
  if (session == nullptr || statistics == nullptr || statistics->struct_size < sizeof(uint32_t)) {
    return SPARTAN_BAD_ARGUMENT;
  }
  spartan_statistics all{};
  all.struct_size = std::min<uint32_t>(statistics->struct_size, sizeof all);
  all.threads = session->threads;
  all.load_ns = session->load_ns;
  all.last_run_ns = session->last_run_ns;
  all.total_run_ns = session->total_run_ns;
  all.runs = session->runs;
  all.planned_bytes = session->planned_bytes;
  all.program_bytes = session->program_bytes;
  all.peak_rss_bytes = peak_rss_bytes();
  all.last_inputs_ns = session->last_inputs_ns;
  memcpy(statistics, &all, all.struct_size);
  return SPARTAN_OK;
}

int32_t spartan_profile(spartan_session* session, const void** data, size_t* bytes, char* message,
                        size_t message_size) {
  return guarded(message, message_size, [&] {
    require(session != nullptr && data != nullptr && bytes != nullptr, "session, data and bytes must not be null");
    require(session->tracer != nullptr, "the session was opened without options.profile");
    require(session->runs > 0, "nothing has run yet");
    if (session->profile == nullptr) {
      const LoggedCall logged;
      const auto result = session->tracer->get_etdump_data();
      session->profile.reset(result.buf);
      session->profile_bytes = result.size;
    }
    if (session->profile == nullptr || session->profile_bytes == 0) {
      fail(SPARTAN_INTERNAL, "ExecuTorch recorded nothing");
    }
    *data = session->profile.get();
    *bytes = session->profile_bytes;
  });
}

}  // extern "C"
