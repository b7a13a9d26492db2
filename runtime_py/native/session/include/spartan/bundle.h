// Bundles and the task files of fleets: opened and checked whole before anything in them is used, behind a C
// interface. docs/formats says what is checked. A damaged task of a fleet is refused by its name, and no other.
//
// As in session.h, no function throws, aborts or prints; each that can fail returns a spartan_status and writes one
// sentence to `message`. A bundle or task does not change once it is open: several threads may read it. Texts are
// UTF-8, zero-terminated, and live as long as what they belong to. An index out of range, or a null bundle or task,
// gives null or 0.
//
//     spartan_bundle* bundle;
//     spartan_session* session;
//     spartan_open_bundle("bundle", NULL, &bundle, message, sizeof message);
//     spartan_open_program(bundle, &options, &session, message, sizeof message);
//     spartan_check_probe(bundle, NULL, session, message, sizeof message);     then spartan_run
#ifndef SPARTAN_BUNDLE_H
#define SPARTAN_BUNDLE_H

#include "spartan/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spartan_bundle spartan_bundle;
typedef struct spartan_task spartan_task;

typedef enum spartan_signature {
  SPARTAN_NOT_SIGNED = 0,
  SPARTAN_SIGNATURE_NOT_CHECKED = 1,  // there is a signature, and no key was given
  SPARTAN_SIGNATURE_GOOD = 2,
} spartan_signature;

// Checks the bundle in the directory `path`. `public_key` is the path of a PEM file: the bundle must be signed with its
// other half; null requires no signature. SPARTAN_REFUSED if the bundle breaks a rule of the format, was altered, or is
// not signed as required; SPARTAN_NO_CRYPTO if there is no libcrypto to check a signature with.
SPARTAN_API int32_t spartan_open_bundle(const char* path, const char* public_key, spartan_bundle** bundle,
                                        char* message, size_t message_size);
SPARTAN_API void spartan_close_bundle(spartan_bundle* bundle);

SPARTAN_API const char* spartan_bundle_program(const spartan_bundle* bundle);       // path of the program
SPARTAN_API const char* spartan_bundle_problem(const spartan_bundle* bundle);       // classification, regression, multilabel, fleet
SPARTAN_API const char* spartan_bundle_target(const spartan_bundle* bundle);
SPARTAN_API const char* spartan_bundle_quantization(const spartan_bundle* bundle);  // none, int8, int4, int4-memories
SPARTAN_API const char* spartan_bundle_lowering(const spartan_bundle* bundle);      // fused, portable
SPARTAN_API int32_t spartan_bundle_max_length(const spartan_bundle* bundle);        // tokens
SPARTAN_API int32_t spartan_bundle_signature(const spartan_bundle* bundle);         // a spartan_signature
// The text of manifest.json, of `bytes` bytes.
SPARTAN_API const char* spartan_bundle_manifest(const spartan_bundle* bundle, size_t* bytes);

// Names of the classes in the order of the logits; none for a regression, and none for a fleet, whose tasks have them.
SPARTAN_API size_t spartan_bundle_label_count(const spartan_bundle* bundle);
SPARTAN_API const char* spartan_bundle_label(const spartan_bundle* bundle, size_t index);
// Of a multilabel task: a text has the label if 1 / (1 + exp(-logit)) is above this. 0 for other tasks.
SPARTAN_API double spartan_bundle_threshold(const spartan_bundle* bundle, size_t index);

// Names of a fleet's tasks; none for other bundles.
SPARTAN_API size_t spartan_bundle_task_count(const spartan_bundle* bundle);
SPARTAN_API const char* spartan_bundle_task(const spartan_bundle* bundle, size_t index);

// Why a fleet's task can't be used, if its file is not the one of the manifest; null for a task whose file is. The other
// tasks can be used.
SPARTAN_API const char* spartan_bundle_task_damage(const spartan_bundle* bundle, size_t index);

// Opens a task of the fleet `bundle` by its name, or the file of one by its path, and checks all of it but the probe.
// SPARTAN_REFUSED as above. The bundle may be closed before the task.
SPARTAN_API int32_t spartan_open_task(const spartan_bundle* bundle, const char* name_or_path, spartan_task** task,
                                      char* message, size_t message_size);
SPARTAN_API void spartan_close_task(spartan_task* task);

SPARTAN_API const char* spartan_task_name(const spartan_task* task);
SPARTAN_API const char* spartan_task_problem(const spartan_task* task);  // classification, regression, multilabel
SPARTAN_API size_t spartan_task_label_count(const spartan_task* task);
SPARTAN_API const char* spartan_task_label(const spartan_task* task, size_t index);
SPARTAN_API double spartan_task_threshold(const spartan_task* task, size_t index);  // as of spartan_bundle_threshold
// The inputs of the program after ids and mask, in its order: views of the mapped file.
SPARTAN_API size_t spartan_task_tensor_count(const spartan_task* task);
SPARTAN_API int32_t spartan_task_tensor(const spartan_task* task, size_t index, spartan_tensor* tensor);

// Opens the bundle's program as spartan_open does, and holds its inputs to what the manifest says of them: a program
// states upper bounds only. SPARTAN_BAD_PROGRAM if it needs operators that this library does not have, or if it is not
// the program that the manifest describes.
SPARTAN_API int32_t spartan_open_program(const spartan_bundle* bundle, const spartan_options* options,
                                         spartan_session** session, char* message, size_t message_size);

// Runs the probe of the bundle, or of one of its tasks (else null), on the bundle's program. SPARTAN_REFUSED unless the
// program gives the logits that it should: then it must not be used. Call it once before the first answer.
SPARTAN_API int32_t spartan_check_probe(const spartan_bundle* bundle, const spartan_task* task, spartan_session* session,
                                        char* message, size_t message_size);

#ifdef __cplusplus
}
#endif
#endif  // SPARTAN_BUNDLE_H
