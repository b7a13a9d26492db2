// A bundle on disk, checked whole before anything in it is used. See docs/formats/bundle.md.
#ifndef SPARTAN_FORMATS_BUNDLE_H
#define SPARTAN_FORMATS_BUNDLE_H

#include <map>
#include <string>

#include "manifest.h"

namespace spartan {

struct BundleFiles {
  std::string directory;
  std::string text;  // of manifest.json
  Manifest manifest;
  std::map<std::string, std::string> damaged;  // task files that are not what the manifest says, and why
  bool has_signature = false;
  bool signature_checked = false;  // and it is good

  std::string program() const { return directory + "/" + manifest.program; }
};

// Checks the bundle at `path`: manifest.json against manifest.sha256 and, with a `key`, against manifest.sig; its
// fields; then every file against size and digest in the manifest, unless this user's cache says that these very files
// were found good before. Any mismatch is a CommandError, but that of a task's file, which ends in `damaged`: that task
// must not be opened.
BundleFiles open_bundle_files(const std::string& path, const std::string& key = "");

}  // namespace spartan
#endif
