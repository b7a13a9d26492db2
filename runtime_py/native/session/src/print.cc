#include "print.h"

#include "json.h"
#include "spartan/session.h"

namespace spartan {

std::string texts(const std::vector<std::string>& all) {
  return "[" + joined(all, [](const std::string& each) { return json_quote(each); }) + "]";
}

std::string kernels_text() {
  std::string out;
  const char* family = nullptr;
  for (size_t i = 0; const char* kernel = spartan_kernel(i, &family); ++i) {
    out += (i > 0 ? "," : "") + json_quote(family) + ":" + json_quote(kernel);
  }
  return "{" + out + "}";
}

}  // namespace spartan
