#include "bundle.h"

#include <sys/stat.h>

#include <string_view>

#include "error.h"
#include "mapped_file.h"
#include "sha256.h"

namespace spartan {

namespace {

constexpr const char* kManifest = "manifest.json";

[[noreturn]] void altered(const std::string& path, const std::string& what) {
  throw CommandError("bundle `" + path + "`: " + what + "; nothing in it was loaded");
}

// A relative path of plain names: nothing that leads out of the bundle.
bool is_plain_name(const std::string& name) {
  if (name.empty() || name.front() == '/' || name.find('\\') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    return false;
  }
  for (size_t start = 0; start <= name.size();) {
    size_t end = name.find('/', start);
    end = end == std::string::npos ? name.size() : end;
    const std::string part = name.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") {
      return false;
    }
    start = end + 1;
  }
  return true;
}

Json read_manifest(const std::string& path) {
  const MappedFile manifest(path + "/" + kManifest);
  const MappedFile recorded(path + "/manifest.sha256");
  const std::string expected = sha256_hex(manifest.data(), manifest.size()) + "  " + kManifest + "\n";
  if (std::string_view(reinterpret_cast<const char*>(recorded.data()), recorded.size()) != expected) {
    altered(path, "`manifest.json` is not what `manifest.sha256` says");
  }
  Json json = Json::parse({reinterpret_cast<const char*>(manifest.data()), manifest.size()},
                          "`" + path + "/manifest.json`");
  const Json* format = json.find("format");
  if (format == nullptr || format->string() != "spartanc-bundle") {
    altered(path, "`manifest.json` does not say format `spartanc-bundle`");
  }
  uint64_t version = 0;
  if (json.find("format_version") == nullptr || !json.find("format_version")->as_size(&version) || version != 1) {
    throw CommandError("bundle `" + path + "` has another format version than this command reads (1)");
  }
  return json;
}

void check_files(const std::string& path, const Json& files) {
  for (const auto& [name, entry] : files.members()) {
    const Json* digest = entry.find("sha256");
    const Json* bytes = entry.find("bytes");
    uint64_t size = 0;
    if (!is_plain_name(name) || digest == nullptr || bytes == nullptr || !bytes->as_size(&size)) {
      altered(path, "`manifest.json` has no valid entry for `" + name + "`");
    }
    struct stat status {};
    const std::string file_path = path + "/" + name;
    if (lstat(file_path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      altered(path, "`" + name + "` is missing or not a plain file");
    }
    const MappedFile file(file_path);
    if (file.size() != size) {
      altered(path, "`" + name + "` has " + std::to_string(file.size()) + " bytes, its manifest says " +
                        std::to_string(size));
    }
    if (sha256_hex(file.data(), file.size()) != digest->string()) {
      altered(path, "`" + name + "` does not have the digest that its manifest says");
    }
  }
}

}  // namespace

Bundle open_bundle(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    throw CommandError("`" + path + "` does not exist");
  }
  Bundle bundle;
  if (!S_ISDIR(status.st_mode)) {
    bundle.program = path;
    return bundle;
  }
  bundle.manifest = read_manifest(path);
  const Json* files = bundle.manifest.find("files");
  const Json* program = bundle.manifest.find("program");
  if (files == nullptr || !files->is_object() || program == nullptr || !program->is_string() ||
      files->find(program->string()) == nullptr) {
    altered(path, "`manifest.json` does not list its program");
  }
  check_files(path, *files);
  bundle.directory = path;
  bundle.program = path + "/" + program->string();
  if (const Json* labels = bundle.manifest.find("labels")) {
    for (const Json& label : labels->items()) {
      bundle.labels.push_back(label.string());
    }
  }
  return bundle;
}

}  // namespace spartan
