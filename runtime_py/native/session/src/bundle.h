// A bundle on disk, checked whole before anything in it is used.
#ifndef SPARTAN_SESSION_BUNDLE_H
#define SPARTAN_SESSION_BUNDLE_H

#include <optional>
#include <string>
#include <vector>

#include "json.h"
#include "probe.h"

namespace spartan {

struct Bundle {
  std::string directory;              // empty for a program without a bundle
  std::string program;                // path of the program
  Json manifest;                      // null for a program without a bundle
  std::vector<std::string> labels;    // empty where the manifest names none
  std::optional<Probe> probe;         // none of a fleet, whose tasks bring their own, nor of a bare program
  bool has_signature = false;         // there is one
  bool signature_checked = false;     // and it is good
};

// `path` is a bundle's directory or a program's file. A directory is checked: manifest.json against manifest.sha256 and,
// with a `key`, against manifest.sig; then every file against size and digest in the manifest, unless this user's cache
// says that these very files were found good before; any mismatch is a CommandError. So is a program's file with a `key`.
Bundle open_bundle(const std::string& path, const std::string& key = "");

}  // namespace spartan
#endif
