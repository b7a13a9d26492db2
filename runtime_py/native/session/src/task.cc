#include "task.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "error.h"
#include "json.h"
#include "sha256.h"

namespace spartan {

namespace {

constexpr std::string_view kPrefix = "{\"__metadata__\":{\"digest\":\"";
constexpr size_t kDigestAt = 8 + kPrefix.size();
constexpr size_t kDigits = 64;
constexpr size_t kAlignment = 64;
constexpr uint64_t kBlockColumns = 16;

const Json& member(const Json& json, const char* key, const std::string& what) {
  const Json* found = json.find(key);
  if (found == nullptr) {
    throw CommandError(what + " has no `" + key + "`");
  }
  return *found;
}

uint64_t count(const Json& json, const char* key, const std::string& what) {
  uint64_t value = 0;
  if (!member(json, key, what).as_size(&value) || value > (uint64_t{1} << 40)) {
    throw CommandError(what + " has a `" + key + "` that is no count");
  }
  return value;
}

std::string text(const Json& json, const char* key, const std::string& what) {
  const Json& value = member(json, key, what);
  if (!value.is_string()) {
    throw CommandError(what + " has a `" + key + "` that is no text");
  }
  return value.string();
}

// The members of `json` are exactly the ones named, and perhaps `optional`.
void require_members(const Json& json, std::initializer_list<const char*> names, const std::string& what,
                     const char* optional = nullptr) {
  const size_t more = optional != nullptr && json.find(optional) != nullptr ? 1 : 0;
  bool all = json.is_object() && json.members().size() == names.size() + more;
  for (const char* name : names) {
    all = all && json.find(name) != nullptr;
  }
  if (!all) {
    throw CommandError(what + " does not hold exactly what such a file holds");
  }
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return out + "]";
}

bool is_file(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

std::string file_of(const Bundle& bundle, const std::string& name_or_path) {
  const std::string what = "the fleet's manifest";
  const Json& tasks = member(member(bundle.manifest, "fleet", what), "tasks", what);
  if (const Json* task = tasks.find(name_or_path)) {
    const std::string file = text(*task, "file", what);
    const Json* files = bundle.manifest.find("files");
    if (files == nullptr || files->find(file) == nullptr) {
      throw CommandError(what + " does not list the file of the task `" + name_or_path + "`");
    }
    return bundle.directory + "/" + file;
  }
  if (is_file(name_or_path)) {
    return name_or_path;
  }
  std::string names;
  for (const auto& [name, task] : tasks.members()) {
    names += (names.empty() ? "" : ", ") + name;
  }
  throw CommandError("there is no task `" + name_or_path + "`, in the fleet or as a file; the fleet has: " + names);
}

void check_bound(const Json& bounds, const char* key, uint64_t value, const std::string& what) {
  const Json& bound = member(bounds, key, "the fleet's manifest");
  uint64_t least = 0;
  uint64_t most = 0;
  if (!bound.is_array() || bound.items().size() != 2 || !bound.items()[0].as_size(&least) ||
      !bound.items()[1].as_size(&most)) {
    throw CommandError("the fleet's manifest has no bounds of `" + std::string(key) + "`");
  }
  if (value < least || value > most) {
    throw CommandError(what + " has " + std::to_string(value) + " " + key + ", this fleet takes " +
                       std::to_string(least) + " to " + std::to_string(most));
  }
}

// NaN and infinities are the values whose exponent is all ones.
template <typename Bits>
bool all_finite(const TensorView& view, Bits exponent) {
  for (size_t i = 0; i < view.bytes; i += sizeof(Bits)) {
    Bits bits = 0;
    memcpy(&bits, view.data + i, sizeof bits);
    if ((bits & exponent) == exponent) {
      return false;
    }
  }
  return true;
}

void check_finite(const TensorView& view, const std::string& what) {
  const bool finite = view.dtype == "F32"   ? all_finite<uint32_t>(view, 0x7f800000)
                      : view.dtype == "F16" ? all_finite<uint16_t>(view, 0x7c00)
                                            : true;
  if (!finite) {
    throw CommandError(what + " has NaN or infinite values in the tensor `" + view.name + "`");
  }
}

// The tensor that tells the kernels a memory's parents, cells and top_k says what the task's file says.
void check_layout(const TensorView& view, const std::vector<int64_t>& memory, const std::string& what) {
  std::vector<int64_t> layout(view.bytes / sizeof(int64_t));
  if (!layout.empty()) {
    memcpy(layout.data(), view.data, layout.size() * sizeof(int64_t));
  }
  if (view.dtype != "I64" || layout != memory) {
    throw CommandError(what + ": `" + view.name + "` says " + shape_text(layout) + ", the task's memory is " +
                       shape_text(memory));
  }
}

// A file that holds its own digest, near its beginning: there it counts as zeros. Before anything in it is interpreted.
void check_digest(const std::string& path, const std::string& what) {
  const MappedFile bytes(path);
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (all.size() < kDigestAt + kDigits || all.substr(8, kPrefix.size()) != kPrefix) {
    throw CommandError(what + " is no task's file: its header does not begin with its digest");
  }
  Sha256 hash;
  hash.update(all.data(), kDigestAt);
  hash.update(std::string(kDigits, '0').data(), kDigits);
  hash.update(all.data() + kDigestAt + kDigits, all.size() - kDigestAt - kDigits);
  const std::string digest = hash.hex();
  if (all.substr(kDigestAt, kDigits) != digest) {
    throw CommandError(what + " has digest `" + digest + "`, its header says `" +
                       std::string(all.substr(kDigestAt, kDigits)) + "`");
  }
}

spartan_tensor tensor_of(const TensorView& view, const std::string& what) {
  spartan_tensor tensor{};
  tensor.dtype = dtype_of(view.dtype);
  if (tensor.dtype == SPARTAN_OTHER_DTYPE || view.shape.size() > SPARTAN_MAX_RANK) {
    throw CommandError(what + " has the tensor `" + view.name + "` of a type or rank that no task has");
  }
  tensor.rank = static_cast<int32_t>(view.shape.size());
  for (size_t d = 0; d < view.shape.size(); ++d) {
    tensor.sizes[d] = view.shape[d];
  }
  tensor.data = view.data;
  tensor.bytes = view.bytes;
  return tensor;
}

}  // namespace

bool is_fleet(const Bundle& bundle) { return bundle.manifest.find("fleet") != nullptr; }

Task::Task(const Bundle& bundle, const std::string& name_or_path) {
  if (!is_fleet(bundle)) {
    throw CommandError("`--task` goes with a bundle of a shared backbone, which this is not");
  }
  path_ = file_of(bundle, name_or_path);
  const std::string what = "task file `" + path_ + "`";
  check_digest(path_, what);
  file_ = std::make_unique<Safetensors>(path_);
  if (file_->data_offset() % kAlignment != 0) {
    throw CommandError(what + " is no task's file: its tensors begin at byte " + std::to_string(file_->data_offset()) +
                       ", not at a multiple of " + std::to_string(kAlignment));
  }
  const Json& metadata = file_->metadata();
  if (metadata.members().size() != 4 || text(metadata, "format", what) != "spartanc-task" ||
      text(metadata, "format_version", what) != "1") {
    throw CommandError(what + " is of another format than this command reads (spartanc-task 1)");
  }
  check_against(bundle.manifest, Json::parse(text(metadata, "task", what), "`task` of " + what));
}

void Task::check_against(const Json& manifest, const Json& task) {
  const std::string what = "task file `" + path_ + "`";
  const std::string theirs = "the fleet's manifest";
  const Json& fleet = member(manifest, "fleet", theirs);
  require_members(task, {"name", "backbone", "quantization", "problem", "labels", "memory", "probe"}, what, "pairs");
  if (const Json* pairs = task.find("pairs"); pairs != nullptr && pairs->kind() != Json::Kind::kBool &&
                                              pairs->kind() != Json::Kind::kNull) {
    throw CommandError(what + " has `pairs` that are neither true, false nor null");
  }
  const std::string backbone = text(member(fleet, "backbone", theirs), "digest", theirs);
  if (text(task, "backbone", what) != backbone) {
    throw CommandError(what + " was made for the backbone `" + text(task, "backbone", what) + "`, this fleet's is `" +
                       backbone + "`");
  }
  const std::string quantization = text(fleet, "quantization", theirs);
  if (text(task, "quantization", what) != quantization) {
    throw CommandError(what + " is quantised as `" + text(task, "quantization", what) + "`, this fleet takes `" +
                       quantization + "`");
  }
  const std::string problem = text(task, "problem", what);
  const bool regression = problem == "regression";
  if (!regression && problem != "classification") {
    throw CommandError(what + " has the problem `" + problem + "`, which is not known");
  }
  const Json& labels = member(task, "labels", what);
  if (!labels.is_array() || (regression ? !labels.items().empty() : labels.items().size() < 2)) {
    throw CommandError(what + " has labels that do not go with its problem");
  }
  for (const Json& label : labels.items()) {
    if (!label.is_string()) {
      throw CommandError(what + " has a label that is no text");
    }
    if (std::find(labels_.begin(), labels_.end(), label.string()) != labels_.end()) {
      throw CommandError(what + " has a label twice");
    }
    labels_.push_back(label.string());
  }
  const Json& memory = member(task, "memory", what);
  require_members(memory, {"parents", "cells", "top_k", "temperature", "layer_norm"}, what + ": its memory");
  if (member(memory, "temperature", what).kind() != Json::Kind::kNumber ||
      !(member(memory, "temperature", what).number() > 0) || !member(memory, "layer_norm", what).is_string()) {
    throw CommandError(what + " has a memory whose temperature or layer_norm can't be");
  }
  const uint64_t parents = count(memory, "parents", what);
  const uint64_t cells = count(memory, "cells", what);
  const uint64_t top_k = count(memory, "top_k", what);
  const uint64_t classes = regression ? 1 : labels_.size();
  if (parents == 0 || cells == 0 || top_k == 0 || cells % parents != 0 || top_k > parents) {
    throw CommandError(what + " has a memory that can't be: parents " + std::to_string(parents) + ", cells " +
                       std::to_string(cells) + ", top_k " + std::to_string(top_k));
  }
  const Json& bounds = member(fleet, "bounds", theirs);
  check_bound(bounds, "parents", parents, what);
  check_bound(bounds, "cells", cells, what);
  check_bound(bounds, "classes", classes, what);

  const auto size_of = [&](const Json& size) {
    uint64_t number = 0;
    if (size.as_size(&number)) {
      return static_cast<int64_t>(number);
    }
    const std::string& word = size.string();
    if (word == "parents") return static_cast<int64_t>(parents);
    if (word == "cells") return static_cast<int64_t>(cells);
    if (word == "classes") return static_cast<int64_t>(classes);
    if (word == "children") return static_cast<int64_t>(cells / parents);
    const auto blocks = [](uint64_t columns) {
      return static_cast<int64_t>((columns + kBlockColumns - 1) / kBlockColumns);
    };
    if (word == "blocks") return blocks(parents + cells);
    if (word == "parent_blocks") return blocks(parents);
    if (word == "cell_blocks") return blocks(cells);
    if (word == "cell_columns") return blocks(cells) * static_cast<int64_t>(kBlockColumns);
    throw CommandError(theirs + " has the size `" + word + "`, which this command does not know");
  };
  const Json& inputs = member(fleet, "inputs", theirs);
  const auto& views = file_->tensors();
  if (!inputs.is_array() || inputs.items().size() != views.size()) {
    throw CommandError(what + " has " + std::to_string(views.size()) + " tensors, the program takes " +
                       std::to_string(inputs.items().size()));
  }
  const uint8_t* expected_at = file_->file().data() + file_->data_offset();
  for (size_t i = 0; i < views.size(); ++i) {
    const TensorView& view = views[i];
    const Json& input = inputs.items()[i];
    std::vector<int64_t> shape;
    for (const Json& size : member(input, "shape", theirs).items()) {
      shape.push_back(size_of(size));
    }
    if (view.name != text(input, "name", theirs) || view.dtype != text(input, "dtype", theirs) || view.shape != shape) {
      throw CommandError(what + ": tensor " + std::to_string(i) + " is `" + view.name + "` " + view.dtype + " " +
                         shape_text(view.shape) + ", the program takes `" + text(input, "name", theirs) + "` " +
                         text(input, "dtype", theirs) + " " + shape_text(shape));
    }
    if (view.data != expected_at) {
      throw CommandError(what + ": tensor `" + view.name + "` is not where the order of the program has it");
    }
    expected_at += view.bytes;
    const std::string_view name = view.name;
    const bool is_layout = name.size() >= 7 && name.substr(name.size() - 7) == ".layout";
    if (is_layout) {
      check_layout(view, {static_cast<int64_t>(parents), static_cast<int64_t>(cells), static_cast<int64_t>(top_k)}, what);
    }
    check_finite(view, what);
    tensors_.push_back(tensor_of(view, what));
  }

  probe_.emplace(member(task, "probe", what), classes, what);
}

}  // namespace spartan
