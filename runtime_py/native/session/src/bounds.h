// What a bundle's manifest knows of its program's inputs beyond what the program says itself.
#ifndef SPARTAN_SESSION_BOUNDS_H
#define SPARTAN_SESSION_BOUNDS_H

#include "formats/json.h"
#include "spartan/session.h"

namespace spartan {

// Holds every dimension of the session's inputs to the manifest's `inputs`, and those of a fleet's tasks: a program states
// upper bounds only, a manifest knows that a batch is exactly 1 and a hidden size exactly 384. Sizes that tasks may differ
// in are checked where a task is. Shorter rows than the manifest's `min_length` are padded from then on.
// CommandError where manifest and program contradict each other.
void narrow_inputs(spartan_session* session, const Json& manifest);

}  // namespace spartan
#endif
