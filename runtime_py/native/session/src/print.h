// How results are written.
#ifndef SPARTAN_SESSION_PRINT_H
#define SPARTAN_SESSION_PRINT_H

#include <cstdint>
#include <string>
#include <vector>

namespace spartan {

template <typename Values, typename Text>
std::string joined(const Values& values, Text&& text) {
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) {
    out += (i > 0 ? "," : "") + text(values[i]);
  }
  return out;
}

inline double milliseconds(uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e6; }
inline double megabytes(uint64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

// A JSON list of texts.
std::string texts(const std::vector<std::string>& all);

// The kernels that this processor gets, family by family, as a JSON object.
std::string kernels_text();

}  // namespace spartan
#endif
