#include "bundle.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>
#include <string_view>

#include "error.h"
#include "mapped_file.h"
#include "sha256.h"
#include "signature.h"
#include "verified.h"

namespace spartan {

namespace {

constexpr size_t kManifestLimit = 4 << 20;
constexpr off_t kSignatureLimit = 72;
constexpr std::string_view kTasks = "tasks/";

[[noreturn]] void altered(const std::string& path, const std::string& what) {
  throw CommandError("bundle `" + path + "`: " + what + "; nothing in it was loaded");
}

// The bundle's own three files are never reached by a link, nor are the others.
void require_plain_file(const std::string& path, const std::string& name) {
  struct stat status {};
  if (lstat((path + "/" + name).c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
    altered(path, "`" + name + "` is missing or not a plain file");
  }
}

std::string_view text_of(const MappedFile& file) { return {reinterpret_cast<const char*>(file.data()), file.size()}; }

void check_signature(const std::string& path, const MappedFile& manifest, const std::string& key) {
  struct stat status {};
  const std::string file = path + "/" + kSignature;
  if (lstat(file.c_str(), &status) != 0) {
    throw CommandError("bundle `" + path + "` is not signed, and `" + key + "` asks for a signature");
  }
  if (!S_ISREG(status.st_mode) || status.st_size > kSignatureLimit) {
    altered(path, std::string("`") + kSignature + "` is not a signature");
  }
  const MappedFile signature(file);
  if (!is_signed(manifest.data(), manifest.size(), signature.data(), signature.size(), key)) {
    throw CommandError("bundle `" + path + "` is not signed with the key that `" + key + "` asks for; nothing in it was "
                       "loaded");
  }
}

// The text of manifest.json, which is what its digest and, with a `key`, its signature say.
std::string read_manifest(const std::string& path, const std::string& key, const Record& record) {
  require_plain_file(path, kManifest);
  require_plain_file(path, kManifestDigest);
  const MappedFile manifest(path + "/" + kManifest);
  if (manifest.size() > kManifestLimit) {
    altered(path, "`manifest.json` is larger than " + std::to_string(kManifestLimit) + " bytes");
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
  return std::string(text_of(manifest));
}

Manifest parse_manifest(const std::string& path, const std::string& text) {
  try {
    return Manifest(text, "bundle `" + path + "`");
  } catch (const CommandError& error) {
    throw CommandError(std::string(error.what()) + "; nothing in it was loaded", error.exit_code);
  }
}

// The entry's own kind; not every file system says it.
bool is_directory(const std::string& path, const struct dirent& entry) {
  struct stat status {};
  return entry.d_type == DT_UNKNOWN ? lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)
                                    : entry.d_type == DT_DIR;
}

// Every entry below `folder` that is no directory, by its path from there; links to directories count as entries.
void list_files(const std::string& folder, const std::string& prefix, size_t depth, std::vector<std::string>* names) {
  if (depth > kDeepestFolder) {
    throw CommandError("cannot read `" + folder + "`: folders nested deeper than " + std::to_string(kDeepestFolder));
  }
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
      list_files(path, prefix + name + "/", depth + 1, names);
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

// A file that nothing but one task's answers depends on.
bool is_only_a_task(const Manifest& manifest, const std::string& name) {
  return manifest.fleet && name != manifest.program && name.compare(0, kTasks.size(), kTasks) == 0 &&
         std::any_of(manifest.fleet->tasks.begin(), manifest.fleet->tasks.end(),
                     [&](const Fleet::Entry& task) { return task.file == name; });
}

// Refuses the bundle, or only the task whose file this is.
void refuse(BundleFiles& bundle, const std::string& name, const std::string& what) {
  if (!is_only_a_task(bundle.manifest, name)) {
    altered(bundle.directory, what);
  }
  bundle.damaged.emplace(name, what);
}

void check_names(BundleFiles& bundle) {
  const std::string& path = bundle.directory;
  std::vector<std::string> names;
  for (const Manifest::File& file : bundle.manifest.files) {
    struct stat status {};
    if (is_only_a_task(bundle.manifest, file.name) && lstat((path + "/" + file.name).c_str(), &status) != 0 &&
        errno == ENOENT) {
      bundle.damaged.emplace(file.name, "`" + file.name + "` is missing");
      names.push_back(file.name);
      continue;
    }
    require_plain_file(path, file.name);
    if (lstat((path + "/" + file.name).c_str(), &status) != 0 || static_cast<uint64_t>(status.st_size) != file.bytes) {
      refuse(bundle, file.name, "`" + file.name + "` has " + std::to_string(status.st_size) +
                                    " bytes, its manifest says " + std::to_string(file.bytes));
    }
    names.push_back(file.name);
  }
  std::sort(names.begin(), names.end());
  std::vector<std::string> present;
  list_files(path, "", 1, &present);
  for (const std::string& name : present) {
    if (!is_reserved(name) && !std::binary_search(names.begin(), names.end(), name)) {
      altered(path, "`" + name + "` is not listed in `manifest.json`");
    }
  }
}

void check_files(BundleFiles& bundle, Record& record) {
  check_names(bundle);
  std::vector<std::string> names;
  for (const Manifest::File& file : bundle.manifest.files) {
    names.push_back(file.name);
  }
  if (bundle.damaged.empty()) {
    record.add(names);
    if (record.holds()) {
      return;
    }
  }
  for (const Manifest::File& file : bundle.manifest.files) {
    if (bundle.damaged.count(file.name) != 0) {
      continue;
    }
    const std::string digest = digest_of(bundle.directory + "/" + file.name);
    if (digest != file.sha256) {
      refuse(bundle, file.name,
             "`" + file.name + "` has digest `" + digest + "`, its manifest says `" + file.sha256 + "`");
    }
  }
  if (bundle.damaged.empty()) {
    record.keep();
  }
}

}  // namespace

BundleFiles open_bundle_files(const std::string& path, const std::string& key) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    throw CommandError("`" + path + "` is not a bundle directory");
  }
  Record record(path, {kManifest, kManifestDigest});
  std::string text = read_manifest(path, key, record);
  Manifest manifest = parse_manifest(path, text);
  BundleFiles bundle{path, std::move(text), std::move(manifest), {}};
  bundle.has_signature = lstat((path + "/" + kSignature).c_str(), &status) == 0;
  bundle.signature_checked = !key.empty();
  check_files(bundle, record);
  return bundle;
}

}  // namespace spartan
