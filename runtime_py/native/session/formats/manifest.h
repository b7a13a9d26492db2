// A bundle's manifest, held to docs/formats/bundle.md rule by rule.
#ifndef SPARTAN_FORMATS_MANIFEST_H
#define SPARTAN_FORMATS_MANIFEST_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fleet.h"
#include "json.h"
#include "probe.h"

namespace spartan {

constexpr const char* kManifest = "manifest.json";
constexpr const char* kManifestDigest = "manifest.sha256";
constexpr const char* kSignature = "manifest.sig";
constexpr size_t kDeepestFolder = 16;

struct Manifest {
  struct File {
    std::string name;
    uint64_t bytes = 0;
    std::string sha256;
  };

  Json json;
  std::string target;
  std::string program;
  std::string problem;
  std::string quantization;
  std::string lowering;
  uint32_t max_length = 0;
  uint32_t min_length = 1;
  std::vector<std::string> labels;     // none of a regression, nor of a fleet
  std::vector<double> thresholds;      // of every label, above which a text has it; none but of a multilabel task
  std::vector<std::string> operators;  // what the program needs of a runtime
  std::vector<std::string> backends;
  std::vector<File> files;
  std::optional<Probe> probe;  // none of a fleet, whose tasks bring their own
  std::optional<Fleet> fleet;

  // `what` names the bundle in messages. Throws CommandError for the first rule that `text` breaks.
  Manifest(std::string_view text, const std::string& what);
};

bool is_reserved(std::string_view name);

}  // namespace spartan
#endif
