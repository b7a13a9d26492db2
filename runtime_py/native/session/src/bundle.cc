#include "bundle.h"

#include <dirent.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "error.h"
#include "mapped_file.h"
#include "sha256.h"
#include "signature.h"
#include "spartan/session.h"
#include "verified.h"

namespace spartan {

namespace {

constexpr const char* kManifest = "manifest.json";
constexpr const char* kManifestDigest = "manifest.sha256";
constexpr const char* kSignature = "manifest.sig";
constexpr size_t kManifestLimit = 4 << 20;
constexpr off_t kSignatureLimit = 72;

bool is_reserved(const std::string& name) {
  return name == kManifest || name == kManifestDigest || name == kSignature;
}

[[noreturn]] void altered(const std::string& path, const std::string& what) {
  throw CommandError("bundle `" + path + "`: " + what + "; nothing in it was loaded");
}

// A relative path of plain names: nothing that leads out of the bundle, and none of its own three files.
bool is_plain_name(const std::string& name) {
  if (name.empty() || is_reserved(name) || name.front() == '/' || name.find('\\') != std::string::npos ||
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

std::string_view text_of(const MappedFile& file) { return {reinterpret_cast<const char*>(file.data()), file.size()}; }

void check_signature(const std::string& path, const MappedFile& manifest, const std::string& key) {
  struct stat status {};
  const std::string file = path + "/" + kSignature;
  if (lstat(file.c_str(), &status) != 0) {
    throw CommandError("bundle `" + path + "` is not signed, and `" + key + "` asks for a signature");
  }
  if (!S_ISREG(status.st_mode) || status.st_size > kSignatureLimit) {
    altered(path, std::string("`") + kSignature + "` is no signature");
  }
  const MappedFile signature(file);
  if (!is_signed(manifest.data(), manifest.size(), signature.data(), signature.size(), key)) {
    throw CommandError("bundle `" + path + "` is not signed with the key that `" + key + "` asks for; nothing in it was "
                       "loaded");
  }
}

Json read_manifest(const std::string& path, const std::string& key, const Record& record) {
  const MappedFile manifest(path + "/" + kManifest);
  if (manifest.size() > kManifestLimit) {
    altered(path, "`manifest.json` is too large");
  }
  if (!record.begins()) {
    const std::string digest = sha256_hex(manifest.data(), manifest.size());
    if (text_of(MappedFile(path + "/" + kManifestDigest)) != digest + "  " + kManifest + "\n") {
      altered(path, "`manifest.json` has digest `" + digest + "`, which is not what `manifest.sha256` says");
    }
  }
  if (!key.empty()) {
    check_signature(path, manifest, key);
  }
  Json json = Json::parse(text_of(manifest), "`" + path + "/manifest.json`");
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

// The entry's own kind; not every file system says it.
bool is_directory(const std::string& path, const struct dirent& entry) {
  struct stat status {};
  return entry.d_type == DT_UNKNOWN ? lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)
                                    : entry.d_type == DT_DIR;
}

// Every entry below `folder` that is no directory, by its path from there; links to directories count as entries.
void list_files(const std::string& folder, const std::string& prefix, std::vector<std::string>* names) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(folder.c_str()), closedir);
  if (directory == nullptr) {
    throw CommandError("cannot read `" + folder + "`: " + strerror(errno));
  }
  while (const struct dirent* entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") {
      continue;
    }
    const std::string path = folder + "/" + name;
    if (is_directory(path, *entry)) {
      list_files(path, prefix + name + "/", names);
    } else {
      names->push_back(prefix + name);
    }
  }
}

// Read, not mapped: what was hashed does not count as memory of this process.
std::string digest_of(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path.c_str(), "rb"), fclose);
  if (file == nullptr) {
    throw CommandError("cannot read `" + path + "`: " + strerror(errno));
  }
  std::vector<uint8_t> buffer(1 << 18);
  Sha256 digest;
  while (const size_t count = fread(buffer.data(), 1, buffer.size(), file.get())) {
    digest.update(buffer.data(), count);
  }
  if (ferror(file.get()) != 0) {
    throw CommandError("cannot read `" + path + "`: " + strerror(errno));
  }
  return digest.hex();
}

std::vector<std::string> check_names(const std::string& path, const Json& files) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : files.members()) {
    const Json* digest = entry.find("sha256");
    const Json* bytes = entry.find("bytes");
    uint64_t size = 0;
    if (!is_plain_name(name) || digest == nullptr || bytes == nullptr || !bytes->as_size(&size) ||
        digest->string().size() != 64) {
      altered(path, "`manifest.json` has no valid entry for `" + name + "`");
    }
    struct stat status {};
    const std::string file = path + "/" + name;
    if (lstat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      altered(path, "`" + name + "` is missing or not a plain file");
    }
    if (static_cast<uint64_t>(status.st_size) != size) {
      altered(path, "`" + name + "` has " + std::to_string(status.st_size) + " bytes, its manifest says " +
                        std::to_string(size));
    }
    names.push_back(name);
  }
  std::vector<std::string> present;
  list_files(path, "", &present);
  for (const std::string& name : present) {
    if (files.find(name) == nullptr && !is_reserved(name)) {
      altered(path, "`" + name + "` does not stand in `manifest.json`");
    }
  }
  return names;
}

void check_files(const std::string& path, Record& record, const Json& files) {
  record.add(check_names(path, files));
  if (record.holds()) {
    return;
  }
  for (const auto& [name, entry] : files.members()) {
    const std::string digest = digest_of(path + "/" + name);
    const std::string& expected = entry.find("sha256")->string();
    if (digest != expected) {
      altered(path, "`" + name + "` has digest `" + digest + "`, its manifest says `" + expected + "`");
    }
  }
  record.keep();
}

void check_needs(const std::string& path, const Json& manifest) {
  const auto check = [&](const char* field, int32_t (*has)(const char*), const char* kind) {
    const Json* names = manifest.find(field);
    if (names == nullptr) {
      return;
    }
    for (const Json& name : names->items()) {
      if (has(name.string().c_str()) == 0) {
        throw CommandError("bundle `" + path + "` needs the " + kind + " `" + name.string() +
                           "`, which this runtime does not have; compile it again with the spartanc of this runtime");
      }
    }
  };
  check("operators", spartan_has_operator, "operator");
  check("backends", spartan_has_backend, "backend");
}

}  // namespace

Bundle open_bundle(const std::string& path, const std::string& key) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    throw CommandError("`" + path + "` does not exist");
  }
  Bundle bundle;
  if (!S_ISDIR(status.st_mode)) {
    if (!key.empty()) {
      throw CommandError("`" + path + "` is no bundle, and nothing but bundles is signed");
    }
    bundle.program = path;
    return bundle;
  }
  Record record(path, {kManifest, kManifestDigest});
  bundle.manifest = read_manifest(path, key, record);
  bundle.has_signature = lstat((path + "/" + kSignature).c_str(), &status) == 0;
  bundle.signature_checked = !key.empty();
  const Json* files = bundle.manifest.find("files");
  const Json* program = bundle.manifest.find("program");
  if (files == nullptr || !files->is_object() || program == nullptr || !program->is_string() ||
      files->find(program->string()) == nullptr) {
    altered(path, "`manifest.json` does not list its program");
  }
  check_files(path, record, *files);
  bundle.directory = path;
  bundle.program = path + "/" + program->string();
  if (const Json* labels = bundle.manifest.find("labels")) {
    for (const Json& label : labels->items()) {
      bundle.labels.push_back(label.string());
    }
  }
  check_needs(path, bundle.manifest);
  if (bundle.manifest.find("fleet") == nullptr) {
    const Json* probe = bundle.manifest.find("probe");
    if (probe == nullptr) {
      altered(path, "`manifest.json` has no probe");
    }
    bundle.probe.emplace(*probe, bundle.labels.empty() ? 1 : bundle.labels.size(), "bundle `" + path + "`");
  }
  return bundle;
}

}  // namespace spartan
