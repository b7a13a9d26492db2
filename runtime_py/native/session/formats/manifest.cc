#include "manifest.h"

#include <algorithm>

#include "error.h"
#include "words.h"

namespace spartan {

namespace {

// Versions of the format: readers of the first alone would run a program on less than it takes.
constexpr uint64_t kPlain = 1;
constexpr uint64_t kWithMinLength = 2;
constexpr uint64_t kLongestInput = 1 << 16;
constexpr uint64_t kTokenizerLimit = 64 << 20;
constexpr size_t kLongestName = 512;
constexpr const char* kInputs[] = {"input_ids", "attention_mask"};

// Reads one manifest; every error begins with `what`.
class Reader {
 public:
  Reader(const Json& json, const std::string& what) : json_(json), what_(what) {}

  [[noreturn]] void fail(const std::string& cause) const { throw CommandError(what_ + " " + cause); }

  bool has(const char* field) const { return json_.find(field) != nullptr; }

  const Json& required(const char* field) const {
    const Json* found = json_.find(field);
    if (found == nullptr) {
      fail(std::string("has no `") + field + "`");
    }
    return *found;
  }

  std::string text(const char* field) const {
    const Json& found = required(field);
    if (!found.is_text()) {
      fail(std::string("has a `") + field + "` that is not text");
    }
    return found.string();
  }

  std::string word(const char* field, bool (*is_known)(std::string_view)) const {
    const std::string found = text(field);
    if (!is_known(found)) {
      fail(std::string("has the ") + field + " `" + found + "`, which is unknown");
    }
    return found;
  }

  uint64_t count(const char* field, uint64_t least, uint64_t most) const {
    uint64_t found = 0;
    if (!required(field).as_count(&found, least, most)) {
      fail(std::string("has a ") + field + " that is not a whole number from " + std::to_string(least) + " to " +
           std::to_string(most));
    }
    return found;
  }

  std::vector<std::string> texts(const char* field) const {
    std::vector<std::string> found;
    if (!required(field).is_array()) {
      fail(std::string("has `") + field + "` that are not a list");
    }
    for (const Json& each : required(field).items()) {
      if (!each.is_text()) {
        fail(std::string("has an entry of `") + field + "` that is not text");
      }
      found.push_back(each.string());
    }
    return found;
  }

  std::vector<std::string> optional_texts(const char* field) const {
    return json_.find(field) == nullptr ? std::vector<std::string>() : texts(field);
  }

 private:
  const Json& json_;
  const std::string what_;
};

void check_format(const Reader& reader) {
  if (!reader.required("format").is_string() || reader.required("format").string() != "spartanc-bundle") {
    reader.fail("does not have the format `spartanc-bundle`");
  }
  uint64_t version = 0;
  if (!reader.required("format_version").as_count(&version, kPlain, kWithMinLength)) {
    reader.fail("has another format_version than this runtime reads (1, 2); compile the model again");
  }
  if ((version == kWithMinLength) != reader.has("min_length")) {
    reader.fail("has format_version " + std::to_string(version) + ", and " + (reader.has("min_length") ? "a" : "no") +
                " `min_length`");
  }
}

void check_labels(const Reader& reader, const Manifest& manifest) {
  if (!labels_fit(manifest.problem, manifest.labels)) {
    reader.fail("has " + std::to_string(manifest.labels.size()) + " `labels` for " + manifest.problem + ", or one twice");
  }
}

std::vector<double> read_thresholds(const Reader& reader, const Manifest& manifest) {
  std::vector<double> found;
  const Json* listed = manifest.json.find("thresholds");
  bool good = listed == nullptr || (listed->is_array() && !listed->items().empty());
  for (const Json& each : good && listed != nullptr ? listed->items() : std::vector<Json>()) {
    good = good && each.is_number();
    found.push_back(each.number());
  }
  if (!good || !thresholds_fit(manifest.problem, manifest.labels.size(), found)) {
    reader.fail("has no valid `thresholds` for " + std::to_string(manifest.labels.size()) + " labels of a " +
                manifest.problem);
  }
  return found;
}

// Whether `value` describes a tensor [_, _] of that name and type.
bool is_tensor(const Json& value, const std::string& name, const std::string& dtype) {
  const Json* its_name = value.find("name");
  const Json* its_dtype = value.find("dtype");
  const Json* shape = value.find("shape");
  return its_name != nullptr && its_name->string() == name && its_dtype != nullptr && its_dtype->string() == dtype &&
         shape != nullptr && shape->items().size() == 2;
}

void check_inputs(const Reader& reader, const Json& inputs) {
  if (inputs.items().size() != std::size(kInputs)) {
    reader.fail("has `inputs` that are not " + std::to_string(std::size(kInputs)) + ": a program takes ids and mask");
  }
  for (size_t i = 0; i < std::size(kInputs); ++i) {
    const Json& input = inputs.items()[i];
    bool good = is_tensor(input, kInputs[i], "int64");
    for (size_t d = 0; good && d < 2; ++d) {
      const Json& size = input.find("shape")->items()[d];
      uint64_t number = 0;
      good = (size.is_string() && size.string() == "L") || size.as_count(&number, 1, kLongestInput);
    }
    if (!good) {
      reader.fail(std::string("has `inputs` that do not describe `") + kInputs[i] + "` int64 [1, L]");
    }
  }
}

void check_outputs(const Reader& reader, const Json& outputs, const Manifest& manifest) {
  const uint64_t classes = std::max<size_t>(manifest.labels.size(), 1);
  bool good = outputs.items().size() == 1 && is_tensor(outputs.items()[0], "logits", "float32");
  if (good) {
    const std::vector<Json>& shape = outputs.items()[0].find("shape")->items();
    uint64_t rows = 0;
    uint64_t columns = 0;
    good = shape[0].as_count(&rows, 1) && (manifest.problem == kFleet ? shape[1].string() == "classes"
                                                                       : shape[1].as_count(&columns) && columns == classes);
  }
  if (!good) {
    reader.fail("has `outputs` that do not describe `logits` float32 [1, C]");
  }
}

// A relative path of plain names, in the one form of it.
bool is_plain_name(std::string_view name) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (name.size() > kLongestName || is_reserved(name) || name.find('\\') != std::string_view::npos ||
      std::any_of(name.begin(), name.end(), is_control)) {
    return false;
  }
  size_t parts = 0;
  for (size_t start = 0; start <= name.size(); ++parts) {
    const size_t end = std::min(name.find('/', start), name.size());
    const std::string_view part = name.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") {
      return false;
    }
    start = end + 1;
  }
  return parts <= kDeepestFolder;
}

std::vector<Manifest::File> read_files(const Reader& reader, const Json& files) {
  std::vector<Manifest::File> found;
  for (const auto& [name, entry] : files.members()) {
    if (!is_plain_name(name)) {
      reader.fail("lists what is no file of a bundle: `" + name + "`");
    }
    const Json* digest = entry.find("sha256");
    const Json* bytes = entry.find("bytes");
    uint64_t size = 0;
    if (digest == nullptr || !is_digest(digest->string()) || bytes == nullptr || !bytes->as_count(&size)) {
      reader.fail("has no valid size and digest of `" + name + "`");
    }
    if (name == "tokenizer.json" && size > kTokenizerLimit) {
      reader.fail("has a `tokenizer.json` of more than " + std::to_string(kTokenizerLimit) + " bytes");
    }
    found.push_back({name, size, digest->string()});
  }
  return found;
}

}  // namespace

Manifest::Manifest(std::string_view text, const std::string& what) {
  const std::string where = what + ": `" + kManifest + "`";
  json = Json::parse(text, where);
  const Reader reader(json, where);
  if (!json.is_object()) {
    reader.fail("is not valid JSON for a manifest: it is not an object");
  }
  check_format(reader);
  target = reader.text("target");
  program = reader.text("program");
  problem = reader.word("problem", [](std::string_view word) { return is_task_type(word) || word == kFleet; });
  quantization = reader.word("quantization", is_quantization);
  lowering = reader.word("lowering", is_lowering);
  if (json.find("program_format") != nullptr) {
    reader.word("program_format", is_program_format);
  }
  max_length = static_cast<uint32_t>(reader.count("max_length", 1, kLongestInput));
  if (reader.has("min_length")) {
    min_length = static_cast<uint32_t>(reader.count("min_length", 1, max_length));
  }
  if (json.find("vocabulary_size") != nullptr) {
    reader.count("vocabulary_size", 1, kLargestVocabulary);
  }
  if (!is_pairs(json.find("pairs"))) {
    reader.fail("has `pairs` that are neither true, false nor null");
  }
  labels = reader.texts("labels");
  operators = reader.optional_texts("operators");
  backends = reader.optional_texts("backends");
  check_labels(reader, *this);
  thresholds = read_thresholds(reader, *this);
  const Json& listed = reader.required("files");
  if (!listed.is_object()) {
    reader.fail("has `files` that are not an object");
  }
  files = read_files(reader, listed);
  if (listed.find(program) == nullptr) {
    reader.fail("does not list its `program` in `files`: `" + program + "`");
  }
  if (const Json* inputs = json.find("inputs")) {
    check_inputs(reader, *inputs);
  }
  if (const Json* outputs = json.find("outputs")) {
    check_outputs(reader, *outputs, *this);
  }
  const Json* its_fleet = json.find("fleet");
  if ((its_fleet != nullptr) != (problem == kFleet)) {
    reader.fail("has a `fleet` without that problem, or that problem without a `fleet`");
  }
  const Json& its_probe = reader.required("probe");
  if (its_fleet != nullptr) {
    Probe::check_input(its_probe, max_length, where);
    fleet.emplace(*its_fleet, listed, where + ": its `fleet`");
  } else {
    probe.emplace(its_probe, std::max<size_t>(labels.size(), 1), max_length, what);
  }
}

bool is_reserved(std::string_view name) {
  return name == kManifest || name == kManifestDigest || name == kSignature;
}

}  // namespace spartan
