// A bundle on disk, checked whole before anything in it is used. See docs/formats/bundle.md.
#ifndef SPARTAN_FORMATS_BUNDLE_H
#define SPARTAN_FORMATS_BUNDLE_H

#include <string>

#include "manifest.h"

namespace spartan {

struct BundleFiles {
  std::string directory;
  std::string text;  // of manifest.json
  Manifest manifest;
  bool has_signature = false;
  bool signature_checked = false;  // and it is good

  std::string program() const { return directory + "/" + manifest.program; }
};

// Checks the bundle at `path`: manifest.json against manifest.sha256 and, with a `key`, against manifest.sig; its
// fields; then every file against size and digest in the manifest, unless this user's cache says that these very files
// were found good before. Any mismatch is a CommandError.
BundleFiles open_bundle_files(const std::string& path, const std::string& key = "");

}  // namespace spartan
#endif
