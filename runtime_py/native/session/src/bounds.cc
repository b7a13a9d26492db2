#include "bounds.h"

#include <cstdint>
#include <string>

#include "formats/error.h"

namespace spartan {

namespace {

constexpr size_t kMessageSize = 512;

void require(int32_t status, const char* message) {
  if (status != SPARTAN_OK) {
    throw CommandError(std::string("the manifest does not describe its program: ") + message);
  }
}

void narrow(spartan_session* session, size_t input, size_t dimension, uint64_t least, uint64_t most) {
  char message[kMessageSize];
  if (most > INT32_MAX) {
    require(SPARTAN_BAD_ARGUMENT, "a size is larger than any tensor's");
  }
  require(spartan_set_bounds(session, input, dimension, static_cast<int32_t>(least), static_cast<int32_t>(most), message,
                             sizeof message),
          message);
}

constexpr size_t kIdsAndMask = 2;

// `described` are the inputs from `first` on; returns the index after the last.
size_t narrow_all(spartan_session* session, const Json* described, size_t first, const Json* max_length) {
  if (described == nullptr) {
    return first;
  }
  for (const Json& input : described->items()) {
    const Json* shape = input.find("shape");
    if (shape != nullptr) {
      for (size_t d = 0; d < shape->items().size(); ++d) {
        uint64_t size = 0;
        if (shape->items()[d].as_size(&size)) {
          narrow(session, first, d, size, size);
        } else if (shape->items()[d].string() == "L" && max_length != nullptr && max_length->as_size(&size)) {
          narrow(session, first, d, 1, size);
        }
      }
    }
    ++first;
  }
  return first;
}

}  // namespace

void narrow_inputs(spartan_session* session, const Json& manifest) {
  const Json* max_length = manifest.find("max_length");
  const Json* inputs = manifest.find("inputs");
  const size_t after = inputs == nullptr ? kIdsAndMask : narrow_all(session, inputs, 0, max_length);
  if (const Json* fleet = manifest.find("fleet")) {
    narrow_all(session, fleet->find("inputs"), after, max_length);
  }
  uint64_t least = 1;
  if (const Json* min_length = manifest.find("min_length"); min_length != nullptr && min_length->as_size(&least)) {
    char message[kMessageSize];
    require(spartan_set_min_length(session, static_cast<int32_t>(least), message, sizeof message), message);
  }
}

}  // namespace spartan
