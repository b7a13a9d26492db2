// A bundle on disk, checked whole before anything in it is used.
#ifndef SPARTAN_SESSION_BUNDLE_H
#define SPARTAN_SESSION_BUNDLE_H

#include <string>
#include <vector>

#include "json.h"

namespace spartan {

struct Bundle {
  std::string directory;              // empty for a program without a bundle
  std::string program;                // path of the program
  Json manifest;                      // null for a program without a bundle
  std::vector<std::string> labels;    // empty where the manifest names none
};

// `path` is a bundle's directory or a program's file. A directory is checked: manifest.json against
// manifest.sha256, then every file against size and digest in the manifest; any mismatch is a CommandError.
Bundle open_bundle(const std::string& path);

}  // namespace spartan
#endif
