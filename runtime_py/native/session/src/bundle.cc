#include "bundle.h"

#include <sys/stat.h>

#include <cstdio>

#include "error.h"
#include "program.h"

namespace spartan {

Bundle open_bundle(const std::string& path, const std::string& key) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    throw CommandError("`" + path + "` does not exist");
  }
  Bundle bundle;
  if (!S_ISDIR(status.st_mode)) {
    if (!key.empty()) {
      throw CommandError("`" + path + "` is not a bundle, and nothing but bundles is signed");
    }
    bundle.program = path;
    return bundle;
  }
  char message[kMessageSize];
  spartan_bundle* opened = nullptr;
  check(spartan_open_bundle(path.c_str(), key.empty() ? nullptr : key.c_str(), &opened, message, sizeof message), message);
  bundle.handle = std::shared_ptr<const spartan_bundle>(opened, [](const spartan_bundle* each) {
    spartan_close_bundle(const_cast<spartan_bundle*>(each));
  });
  bundle.program = spartan_bundle_program(opened);
  size_t bytes = 0;
  const char* text = spartan_bundle_manifest(opened, &bytes);
  bundle.manifest = Json::parse({text, bytes}, "bundle `" + path + "`");
  for (size_t i = 0; i < spartan_bundle_label_count(opened); ++i) {
    bundle.labels.push_back({spartan_bundle_label(opened, i), spartan_bundle_threshold(opened, i)});
  }
  return bundle;
}

std::string signature_text(const Bundle& bundle) {
  const int32_t signature = bundle.handle == nullptr ? SPARTAN_NOT_SIGNED : spartan_bundle_signature(bundle.handle.get());
  return signature == SPARTAN_SIGNATURE_GOOD          ? "good"
         : signature == SPARTAN_SIGNATURE_NOT_CHECKED ? "not checked"
                                                      : "none";
}

void warn_of_damage(const Bundle& bundle) {
  for (size_t i = 0; i < spartan_bundle_task_count(bundle.handle.get()); ++i) {
    if (const char* damage = spartan_bundle_task_damage(bundle.handle.get(), i)) {
      fprintf(stderr, "warning: the task `%s` can't be used: %s\n", spartan_bundle_task(bundle.handle.get(), i), damage);
    }
  }
}

bool is_fleet(const Bundle& bundle) { return bundle.manifest.find("fleet") != nullptr; }

}  // namespace spartan
