// The native session: opens a compiled program and runs it, behind a C interface.
//
// No function throws, aborts or prints. Each that can fail returns a spartan_status and, where `message` is not
// null, writes one zero-terminated sentence of at most `message_size` bytes that says what was wrong.
//
// A session is used by one thread at a time; different sessions may be used by different threads. The thread pool
// is shared by the process: its size can change only while no session is open.
#ifndef SPARTAN_SESSION_H
#define SPARTAN_SESSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SPARTAN_API __attribute__((visibility("default")))
#else
#define SPARTAN_API
#endif

#define SPARTAN_API_VERSION 1
#define SPARTAN_MAX_RANK 8

typedef enum spartan_status {
  SPARTAN_OK = 0,
  SPARTAN_BAD_ARGUMENT = 1,  // a null pointer, an index out of range, an option with a wrong value
  SPARTAN_BAD_FILE = 2,      // the file is missing, unreadable or empty
  SPARTAN_BAD_PROGRAM = 3,   // the file is no program that this library can run
  SPARTAN_BAD_INPUT = 4,     // an input's type, rank or a dimension is outside what the program takes
  SPARTAN_RUN_FAILED = 5,    // the program failed while it ran
  SPARTAN_NO_MEMORY = 6,
  SPARTAN_INTERNAL = 7,
  SPARTAN_REFUSED = 8,    // bundle.h: breaks its format, was altered, is not signed as required, or fails its probe
  SPARTAN_NO_CRYPTO = 9,  // bundle.h: there is no libcrypto to check a signature with
} spartan_status;

typedef enum spartan_dtype {
  SPARTAN_FLOAT32 = 0,
  SPARTAN_INT64 = 1,
  SPARTAN_INT32 = 2,
  SPARTAN_INT8 = 3,
  SPARTAN_UINT8 = 4,
  SPARTAN_BOOL = 5,
  SPARTAN_FLOAT16 = 6,
  SPARTAN_OTHER_DTYPE = 255,
} spartan_dtype;

typedef struct spartan_session spartan_session;

typedef struct spartan_options {
  uint32_t struct_size;    // sizeof(spartan_options): lets the struct grow
  int32_t threads;         // 0 leaves the pool as it is (first use: one thread a core)
  int32_t weight_cache;    // not 0: XNNPACK shares packed weights between sessions of this process
  int32_t profile;         // not 0: records the time of every operator; see spartan_profile
} spartan_options;

// What the program says of an input or output. `max_sizes` are the largest it takes. `is_static`: every size must
// be exactly that; otherwise each may be from 1 to it.
typedef struct spartan_tensor_info {
  int32_t dtype;
  int32_t rank;
  int32_t is_static;
  int32_t min_sizes[SPARTAN_MAX_RANK];
  int32_t max_sizes[SPARTAN_MAX_RANK];
} spartan_tensor_info;

// A dense, row-major tensor. Inputs are read, never kept beyond the call; where the program was planned without
// memory of its own for an input, it is used in place and not copied.
typedef struct spartan_tensor {
  int32_t dtype;
  int32_t rank;
  int64_t sizes[SPARTAN_MAX_RANK];
  const void* data;
  uint64_t bytes;
} spartan_tensor;

typedef struct spartan_statistics {
  uint32_t struct_size;
  uint32_t threads;
  uint64_t load_ns;           // spartan_open, without reading what the caller had read before
  uint64_t last_run_ns;
  uint64_t total_run_ns;
  uint64_t runs;
  uint64_t planned_bytes;     // activations, as planned at compile time
  uint64_t program_bytes;     // size of the mapped file
  uint64_t peak_rss_bytes;    // of the whole process, up to now
  uint64_t last_inputs_ns;    // of the last run: handing the inputs over, before the first operator
} spartan_statistics;

SPARTAN_API int32_t spartan_api_version(void);

// Whether this library can run the operator ("aten::add.out") or the backend ("XnnpackBackend") of that name: 1 or 0.
SPARTAN_API int32_t spartan_has_operator(const char* name);
SPARTAN_API int32_t spartan_has_backend(const char* name);

// The kernel that this processor gets of our operators' family number `index`, and the family's name: "neondot" of
// "memory_lookup_quantized". Null past the last one, and where `family` is null.
SPARTAN_API const char* spartan_kernel(size_t index, const char** family);

// Opens `path`, mapped and not copied, with the strongest verification of the program that ExecuTorch has.
SPARTAN_API int32_t spartan_open(const char* path, const spartan_options* options, spartan_session** session,
                                 char* message, size_t message_size);
SPARTAN_API void spartan_close(spartan_session* session);

SPARTAN_API size_t spartan_input_count(const spartan_session* session);
SPARTAN_API size_t spartan_output_count(const spartan_session* session);
SPARTAN_API int32_t spartan_input_info(const spartan_session* session, size_t index, spartan_tensor_info* info);
SPARTAN_API int32_t spartan_output_info(const spartan_session* session, size_t index, spartan_tensor_info* info);

// Narrows what an input's dimension may be. A program states upper bounds only; a manifest knows that the hidden
// size is exactly 768. Fails where the bounds are outside the program's own.
SPARTAN_API int32_t spartan_set_bounds(spartan_session* session, size_t input, size_t dimension, int32_t minimum,
                                       int32_t maximum, char* message, size_t message_size);

// The fewest tokens that the program takes, as its manifest says (`min_length`): spartan_run pads shorter ids and masks
// [1, L] to that, with id 0 and mask 0. Fails where a program of no such inputs is loaded, or they cannot be that long.
SPARTAN_API int32_t spartan_set_min_length(spartan_session* session, int32_t min_length, char* message,
                                           size_t message_size);

// Runs the program on `count` inputs, every dimension of which is checked first. After success the outputs can be
// read until the next run or close.
SPARTAN_API int32_t spartan_run(spartan_session* session, const spartan_tensor* inputs, size_t count, char* message,
                                size_t message_size);
SPARTAN_API int32_t spartan_output(const spartan_session* session, size_t index, spartan_tensor* output);

SPARTAN_API int32_t spartan_statistics_of(const spartan_session* session, spartan_statistics* statistics);

// The recorded profile (ETDump) of all runs since opening; only once, and only with options.profile. The bytes
// live until spartan_close.
SPARTAN_API int32_t spartan_profile(spartan_session* session, const void** data, size_t* bytes, char* message,
                                    size_t message_size);

#ifdef __cplusplus
}
#endif
#endif  // SPARTAN_SESSION_H
