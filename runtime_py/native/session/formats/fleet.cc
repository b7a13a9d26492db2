#include "fleet.h"

#include <algorithm>
#include <initializer_list>

#include "error.h"
#include "words.h"

namespace spartan {

namespace {

constexpr uint64_t kBlockColumns = 16;
constexpr size_t kLongestTaskName = 64;

uint64_t blocks(uint64_t columns) { return (columns + kBlockColumns - 1) / kBlockColumns; }

const Json& object(const Json& parent, const char* key, const std::string& what) {
  const Json* found = parent.find(key);
  if (found == nullptr || !found->is_object()) {
    throw CommandError(what + ": its `" + key + "` is missing or not an object");
  }
  return *found;
}

Fleet::Bound bound(const Json& bounds, const char* key, const std::string& what) {
  const Json* two = bounds.find(key);
  Fleet::Bound found;
  if (two == nullptr || two->items().size() != 2 || !two->items()[0].as_count(&found.least, 1, kMostSize) ||
      !two->items()[1].as_count(&found.most, 1, kMostSize) || found.least > found.most) {
    throw CommandError(what + ": `bounds` has no valid `" + key + "`");
  }
  return found;
}

Fleet::Input input(const Json& entry, const std::string& what) {
  const Json* name = entry.find("name");
  const Json* dtype = entry.find("dtype");
  const Json* shape = entry.find("shape");
  if (name == nullptr || !name->is_string() || dtype == nullptr || !dtype->is_string() || shape == nullptr ||
      !shape->is_array()) {
    throw CommandError(what + ": an entry of `inputs` has no valid name, dtype and shape");
  }
  Fleet::Input found{name->string(), dtype->string(), {}};
  const std::string where = what + ": `" + found.name + "`";
  if (element_size(found.dtype) == 0) {
    throw CommandError(where + " has the dtype `" + found.dtype + "`, which no task has");
  }
  if (shape->items().size() > kMostDimensions) {
    throw CommandError(where + " has more than " + std::to_string(kMostDimensions) + " dimensions");
  }
  for (const Json& size : shape->items()) {
    uint64_t number = 0;
    const bool is_word = size.is_string() && TaskSizes{1, 1, 1}.find(size.string(), &number);
    if (!is_word && !size.as_count(&number, 1, kMostSize)) {
      throw CommandError(where + " has the size `" + size.string() + "`, which is neither a count nor a known word");
    }
    found.shape.emplace_back(is_word ? 0 : number, size.string());
  }
  if (is_layout(found.name) && (found.dtype != "I64" || found.shape.size() != 1 || found.shape[0].first != 3)) {
    throw CommandError(where + " is not I64 [3], as a layout is");
  }
  return found;
}

}  // namespace

bool TaskSizes::find(std::string_view word, uint64_t* size) const {
  const std::initializer_list<std::pair<std::string_view, uint64_t>> words = {
      {"parents", parents},
      {"cells", cells},
      {"classes", classes},
      {"children", cells / parents},
      {"blocks", blocks(parents + cells)},
      {"parent_blocks", blocks(parents)},
      {"cell_blocks", blocks(cells)},
      {"cell_columns", blocks(cells) * kBlockColumns},
  };
  const auto found = std::find_if(words.begin(), words.end(), [&](const auto& each) { return each.first == word; });
  if (found == words.end()) {
    return false;
  }
  *size = found->second;
  return true;
}

Fleet::Fleet(const Json& fleet, const Json& files, const std::string& what) {
  if (!fleet.is_object()) {
    throw CommandError(what + " is not an object");
  }
  const Json* digest = object(fleet, "backbone", what).find("digest");
  if (digest == nullptr || !is_digest(digest->string())) {
    throw CommandError(what + ": its `backbone` has no valid `digest`");
  }
  backbone = digest->string();
  const Json* word = fleet.find("quantization");
  if (word == nullptr || !is_quantization(word->string())) {
    throw CommandError(what + ": its quantization `" + (word == nullptr ? "" : word->string()) + "` is unknown");
  }
  quantization = word->string();
  const Json& bounds = object(fleet, "bounds", what);
  parents = bound(bounds, "parents", what);
  cells = bound(bounds, "cells", what);
  classes = bound(bounds, "classes", what);
  const Json* all = fleet.find("inputs");
  if (all == nullptr || !all->is_array()) {
    throw CommandError(what + ": its `inputs` are missing or not a list");
  }
  for (const Json& each : all->items()) {
    inputs.push_back(input(each, what));
  }
  for (const auto& [name, entry] : object(fleet, "tasks", what).members()) {
    const Json* file = entry.find("file");
    if (!is_task_name(name)) {
      throw CommandError(what + ": `" + name + "` in its `tasks` is not a valid task name");
    }
    if (file == nullptr || !file->is_string() || files.find(file->string()) == nullptr) {
      throw CommandError(what + ": the file of the task `" + name + "` is not one of `files`");
    }
    tasks.push_back({name, file->string()});
  }
}

bool is_digest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_task_name(std::string_view text) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !text.empty() && text.size() <= kLongestTaskName && text.find_first_not_of(kAllowed) == std::string_view::npos &&
         text.find_first_of("._-") != 0;
}

size_t element_size(std::string_view dtype) {
  return dtype == "I64"                      ? 8
         : dtype == "F32" || dtype == "I32" ? 4
         : dtype == "F16"                    ? 2
         : dtype == "I8" || dtype == "U8"   ? 1
                                             : 0;
}

bool is_layout(std::string_view name) {
  constexpr std::string_view kEnd = ".layout";
  return name.size() >= kEnd.size() && name.substr(name.size() - kEnd.size()) == kEnd;
}

}  // namespace spartan
