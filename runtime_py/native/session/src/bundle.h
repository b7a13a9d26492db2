// What the command is given: a bundle, opened by libspartan, or a program without one.
#ifndef SPARTAN_SESSION_BUNDLE_H
#define SPARTAN_SESSION_BUNDLE_H

#include <memory>
#include <string>
#include <vector>

#include "json.h"
#include "spartan/bundle.h"

namespace spartan {

struct Label {
  std::string name;
  double threshold = 0;  // 0 where the task has none
};

struct Bundle {
  std::shared_ptr<const spartan_bundle> handle;  // null for a program without a bundle
  std::string program;                           // path of the program
  Json manifest;                                 // null for a program without a bundle
  std::vector<Label> labels;                     // empty if the manifest names none
};

// `path` is a bundle's directory or a program's file; with a `key` it must be a bundle that is signed. CommandError if it
// is refused.
Bundle open_bundle(const std::string& path, const std::string& key = "");

// A line on stderr for each task that can't be used.
void warn_of_damage(const Bundle& bundle);

// Whether the bundle's program takes the tensors of a task.
bool is_fleet(const Bundle& bundle);

// good, not checked, none
std::string signature_text(const Bundle& bundle);

}  // namespace spartan
#endif
