#include "task.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "error.h"
#include "json.h"
#include "sha256.h"
#include "words.h"

namespace spartan {

namespace {

constexpr std::string_view kPrefix = "{\"__metadata__\":{\"digest\":\"";
constexpr size_t kDigestAt = 8 + kPrefix.size();
constexpr size_t kDigits = 64;
constexpr size_t kAlignment = 64;
constexpr size_t kHeaderLimit = 4 << 20;
constexpr size_t kFileLimit = INT32_MAX;

// The members of `json` are exactly the ones named, and perhaps `optional`.
void require_members(const Json& json, std::initializer_list<const char*> names, const std::string& what,
                     const char* optional = nullptr) {
  std::string listed;
  const size_t more = optional != nullptr && json.find(optional) != nullptr ? 1 : 0;
  bool all = json.is_object() && json.members().size() == names.size() + more;
  for (const char* name : names) {
    all = all && json.find(name) != nullptr;
    listed += std::string(listed.empty() ? "" : ", ") + name;
  }
  if (!all) {
    throw CommandError(what + " does not hold exactly " + listed);
  }
}

const std::string& word(const Json& json, const char* key, bool (*is_known)(std::string_view), const std::string& what) {
  const Json& found = *json.find(key);
  if (!found.is_string() || !is_known(found.string())) {
    throw CommandError(what + " has the " + key + " `" + found.string() + "`, which is unknown");
  }
  return found.string();
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return out + "]";
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
  if (layout != memory) {
    throw CommandError(what + ": `" + view.name + "` is " + shape_text(layout) + ", the task's memory is " +
                       shape_text(memory));
  }
}

// A file that holds its own digest, near its beginning: there it counts as zeros. Before anything in it is interpreted.
void check_digest(const MappedFile& file, const std::string& what) {
  const std::string_view all(reinterpret_cast<const char*>(file.data()), file.size());
  if (all.size() < kDigestAt + kDigits || all.size() > kFileLimit) {
    throw CommandError(what + " is too short or too large: " + std::to_string(all.size()) + " bytes");
  }
  if (all.substr(8, kPrefix.size()) != kPrefix) {
    throw CommandError(what + " is not a task file: its header does not begin with its digest");
  }
  Sha256 hash;
  hash.update(all.data(), kDigestAt);
  hash.update(std::string(kDigits, '0').data(), kDigits);
  hash.update(all.data() + kDigestAt + kDigits, all.size() - kDigestAt - kDigits);
  const std::string digest = hash.hex();
  const std::string_view recorded = all.substr(kDigestAt, kDigits);
  if (recorded != digest) {
    // What stands there is shown only if it could be a digest: it may be any bytes.
    const bool is_hex = recorded.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    const std::string said = is_hex ? "`" + std::string(recorded) + "`" : "another";
    throw CommandError(what + " has digest `" + digest + "`, its header says " + said);
  }
}

// Beyond what safetensors asks for: where the header ends, what describes a tensor, and in what order bytes stand.
void check_layout_of_file(const Safetensors& file, const std::string& what) {
  if (file.data_offset() % kAlignment != 0 || file.data_offset() - 8 > kHeaderLimit) {
    throw CommandError(what + " has a header of " + std::to_string(file.data_offset() - 8) +
                       " bytes, which no task file has");
  }
  for (const auto& [name, entry] : file.header().members()) {
    if (name != "__metadata__") {
      require_members(entry, {"dtype", "shape", "data_offsets"}, what + ": the tensor `" + name + "`");
    }
  }
  const uint8_t* expected = file.file().data() + file.data_offset();
  for (const TensorView& view : file.tensors()) {
    const size_t size = element_size(view.dtype);
    const std::string where = what + ": the tensor `" + view.name + "`";
    if (size == 0) {
      throw CommandError(where + " has the dtype `" + view.dtype + "`, which no task has");
    }
    const bool good = std::all_of(view.shape.begin(), view.shape.end(), [](int64_t each) {
      return each >= 1 && static_cast<uint64_t>(each) <= kMostSize;
    });
    if (!good || view.shape.size() > kMostDimensions) {
      throw CommandError(where + " has the shape " + shape_text(view.shape) + "; a size is from 1 to " +
                         std::to_string(kMostSize) + ", of at most " + std::to_string(kMostDimensions) + " dimensions");
    }
    if (view.data != expected) {
      throw CommandError(where + " is not where the header's order has it");
    }
    if (static_cast<size_t>(view.data - file.file().data()) % size != 0) {
      throw CommandError(where + " is not aligned to its elements");
    }
    expected += view.bytes;
  }
}

spartan_tensor tensor_of(const TensorView& view) {
  spartan_tensor tensor{};
  tensor.dtype = dtype_of(view.dtype);
  tensor.rank = static_cast<int32_t>(view.shape.size());
  for (size_t d = 0; d < view.shape.size(); ++d) {
    tensor.sizes[d] = view.shape[d];
  }
  tensor.data = view.data;
  tensor.bytes = view.bytes;
  return tensor;
}

// A task's memory, as its file describes it; `top_k` beside the sizes of its tensors.
struct Memory {
  uint64_t parents = 0;
  uint64_t cells = 0;
  uint64_t top_k = 0;
};

Memory read_memory(const Json& json, const std::string& what) {
  require_members(json, {"parents", "cells", "top_k", "temperature", "layer_norm"}, what + ": its `memory`");
  const std::string where = what + " has a `memory` whose ";
  word(json, "layer_norm", [](std::string_view each) { return each == "none" || each == "post"; }, what + ": its `memory`");
  const Json& temperature = *json.find("temperature");
  if (!temperature.is_number() || !(temperature.number() > 0)) {
    throw CommandError(where + "temperature is not a number above 0");
  }
  Memory memory;
  for (const auto& [name, value] : {std::pair("parents", &memory.parents), std::pair("cells", &memory.cells),
                                    std::pair("top_k", &memory.top_k)}) {
    if (!json.find(name)->as_count(value, 1, kMostSize)) {
      throw CommandError(where + name + " is not a whole number from 1 to " + std::to_string(kMostSize));
    }
  }
  if (memory.cells % memory.parents != 0 || memory.top_k > memory.parents) {
    throw CommandError(where + "parents, cells and top_k don't go together: " + std::to_string(memory.parents) + ", " +
                       std::to_string(memory.cells) + ", " + std::to_string(memory.top_k));
  }
  return memory;
}

void check_bound(const Fleet::Bound& bound, const char* key, uint64_t value, const std::string& what) {
  if (value < bound.least || value > bound.most) {
    throw CommandError(what + " has " + std::to_string(value) + " " + key + ", this fleet takes " +
                       std::to_string(bound.least) + " to " + std::to_string(bound.most));
  }
}

void check_same(const std::string& found, const std::string& expected, const char* key, const std::string& what) {
  if (found != expected) {
    throw CommandError(what + " has the " + key + " `" + found + "`, this fleet's is `" + expected + "`");
  }
}

struct Labels {
  std::vector<std::string> names;
  std::vector<double> thresholds;
};

// A list of texts, or of pairs of a text and its threshold.
Labels read_labels(const Json& json, const std::string& problem, const std::string& what) {
  Labels labels;
  bool good = json.is_array();
  for (const Json& each : json.items()) {
    const bool is_pair = has_thresholds(problem) && each.items().size() == 2;
    const Json& name = is_pair ? each.items()[0] : each;
    good = good && name.is_text() && is_pair == has_thresholds(problem) && (!is_pair || each.items()[1].is_number());
    labels.names.push_back(name.string());
    if (is_pair) {
      labels.thresholds.push_back(each.items()[1].number());
    }
  }
  if (!good || !labels_fit(problem, labels.names)) {
    throw CommandError(what + " has " + std::to_string(labels.names.size()) + " `labels` for " + problem +
                       ", or one twice or not text" + (has_thresholds(problem) ? " with its threshold" : ""));
  }
  if (!thresholds_fit(problem, labels.names.size(), labels.thresholds)) {
    throw CommandError(what + " has `labels` whose thresholds are not above 0 and below 1");
  }
  return labels;
}

// Puts the tensors that `sparse` names by their shapes in the place of what is stored of them; returns what holds them.
std::vector<AlignedBytes> expand(const Json& sparse, std::vector<TensorView>* views, const std::string& what) {
  if (!sparse.is_object()) {
    throw CommandError(what + " has a `sparse` that is no object");
  }
  std::vector<AlignedBytes> made;
  for (const auto& [key, sizes] : sparse.members()) {
    const std::string& name = key;
    const std::string where = what + ": the sparse tensor `" + name + "`";
    const auto view = std::find_if(views->begin(), views->end(), [&](const TensorView& each) { return each.name == name; });
    if (view == views->end() || view->dtype != "U8" || view->shape.size() != 1) {
      throw CommandError(where + " is no U8 tensor of one dimension in the header");
    }
    std::vector<int64_t> shape;
    uint64_t count = 1;
    bool good = sizes.is_array() && sizes.items().size() <= kMostDimensions;
    for (const Json& each : sizes.items()) {
      uint64_t size = 0;
      good = good && each.as_count(&size, 1, kMostSize) && (count *= size) <= kMostSize;
      shape.push_back(static_cast<int64_t>(size));
    }
    if (!good) {
      throw CommandError(where + " has a shape that is not valid");
    }
    made.push_back(with_zeros(view->data, view->bytes, static_cast<size_t>(count), where));
    view->dtype = "I8";
    view->shape = std::move(shape);
    view->data = made.back().get();
    view->bytes = static_cast<size_t>(count);
  }
  return made;
}

void check_tensor(const TensorView& view, const Fleet::Input& input, const TaskSizes& sizes, const std::string& what) {
  std::vector<int64_t> shape;
  for (const auto& [number, word] : input.shape) {
    uint64_t size = number;
    if (size == 0) {
      sizes.find(word, &size);
    }
    shape.push_back(static_cast<int64_t>(size));
  }
  if (view.name != input.name || view.dtype != input.dtype || view.shape != shape) {
    throw CommandError(what + " has the tensor `" + view.name + "` " + view.dtype + " " + shape_text(view.shape) +
                       ", the program takes `" + input.name + "` " + input.dtype + " " + shape_text(shape));
  }
}

// The name that only one of file and fleet has, for a message.
std::string odd_one(const std::vector<TensorView>& views, const std::vector<Fleet::Input>& inputs) {
  const size_t both = std::min(views.size(), inputs.size());
  for (size_t i = 0; i < both; ++i) {
    if (views[i].name != inputs[i].name) {
      return "`" + views[i].name + "` in place of `" + inputs[i].name + "`";
    }
  }
  return views.size() > both ? "`" + views[both].name + "` too much" : "no `" + inputs[both].name + "`";
}

}  // namespace

TaskFile::TaskFile(const std::string& path, const Fleet& fleet, uint64_t max_length) {
  const std::string what = "task file `" + path + "`";
  file_ = std::make_unique<Safetensors>(path, [&](const MappedFile& file) { check_digest(file, what); });
  check_layout_of_file(*file_, what);
  const Json& metadata = file_->metadata();
  require_members(metadata, {"digest", "format", "format_version", "task"}, what + ": its `__metadata__`");
  for (const auto& [name, value] : metadata.members()) {
    if (!value.is_string()) {
      throw CommandError(what + ": its `__metadata__` has a `" + name + "` that is not text");
    }
  }
  word(metadata, "format", [](std::string_view each) { return each == "spartanc-task"; }, what);
  const bool has_sparse =
      word(metadata, "format_version", [](std::string_view each) { return each == "1" || each == "2"; }, what) == "2";
  const Json task = Json::parse(metadata.find("task")->string(), what + ": its `task`");
  if (has_sparse) {
    require_members(task, {"name", "backbone", "quantization", "problem", "labels", "memory", "probe", "sparse"},
                    what + ": its `task`", "pairs");
  } else {
    require_members(task, {"name", "backbone", "quantization", "problem", "labels", "memory", "probe"},
                    what + ": its `task`", "pairs");
  }
  if (!is_pairs(task.find("pairs"))) {
    throw CommandError(what + " has `pairs` that are neither true, false nor null");
  }
  name_ = task.find("name")->string();
  if (!is_task_name(name_)) {
    throw CommandError(what + " has the name `" + name_ + "`, which is not a valid task name");
  }
  check_same(task.find("backbone")->string(), fleet.backbone, "backbone", what);
  problem_ = word(task, "problem", is_task_type, what);
  check_same(word(task, "quantization", is_quantization, what), fleet.quantization, "quantization", what);
  Labels labels = read_labels(*task.find("labels"), problem_, what);
  labels_ = std::move(labels.names);
  thresholds_ = std::move(labels.thresholds);
  const Memory memory = read_memory(*task.find("memory"), what);
  const TaskSizes sizes{memory.parents, memory.cells, std::max<size_t>(labels_.size(), 1)};
  check_bound(fleet.parents, "parents", sizes.parents, what);
  check_bound(fleet.cells, "cells", sizes.cells, what);
  check_bound(fleet.classes, "classes", sizes.classes, what);
  probe_.emplace(*task.find("probe"), sizes.classes, max_length, what);

  std::vector<TensorView> views = file_->tensors();
  if (has_sparse) {
    expanded_ = expand(*task.find("sparse"), &views, what);
  }
  if (views.size() != fleet.inputs.size()) {
    throw CommandError(what + " has " + std::to_string(views.size()) + " tensors, the program takes " +
                       std::to_string(fleet.inputs.size()) + ": " + odd_one(views, fleet.inputs));
  }
  for (size_t i = 0; i < views.size(); ++i) {
    check_tensor(views[i], fleet.inputs[i], sizes, what);
    if (is_layout(views[i].name)) {
      check_layout(views[i], {static_cast<int64_t>(memory.parents), static_cast<int64_t>(memory.cells),
                              static_cast<int64_t>(memory.top_k)}, what);
    }
    check_finite(views[i], what);
    tensors_.push_back(tensor_of(views[i]));
  }
}

}  // namespace spartan
