#include "print.h"

#include "json.h"
#include "spartan/session.h"

namespace spartan {

std::string kernels_text() {
  std::string out;
  const char* family = nullptr;
  for (size_t i = 0; const char* kernel = spartan_kernel(i, &family); ++i) {
    out += (i > 0 ? "," : "") + json_quote(family) + ":" + json_quote(kernel);
  }
  return "{" + out + "}";
}

}  // namespace spartan
