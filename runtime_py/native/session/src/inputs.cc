#include "inputs.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "error.h"
#include "json.h"
#include "rows.h"

namespace spartan {

namespace {

std::vector<int64_t> int64_values(const TensorView& tensor) {
  if (tensor.dtype != "I64" || tensor.shape.size() != 2) {
    throw CommandError("`" + tensor.name + "` must be int64 [N, L]");
  }
  std::vector<int64_t> values(tensor.bytes / sizeof(int64_t));
  if (!values.empty()) {
    memcpy(values.data(), tensor.data, tensor.bytes);
  }
  return values;
}

}  // namespace

std::vector<Row> read_rows(const std::string& path, bool keep_padding, const Bundle& bundle) {
  const Safetensors file(path);
  const TensorView& ids = file.get("input_ids");
  const TensorView& mask = file.get("attention_mask");
  if (ids.shape != mask.shape) {
    throw CommandError("`" + path + "`: `input_ids` and `attention_mask` must have one shape");
  }
  const std::vector<int64_t> all_ids = int64_values(ids);
  const std::vector<int64_t> all_masks = int64_values(mask);
  if (all_ids.empty()) {
    throw CommandError("`" + path + "` holds no tokens");
  }
  const auto length = static_cast<size_t>(ids.shape[1]);
  std::vector<Row> rows;
  for (size_t start = 0; start < all_ids.size(); start += length) {
    size_t kept = length;
    if (!keep_padding) {
      while (kept > 0 && all_masks[start + kept - 1] == 0) {
        --kept;
      }
      if (kept == 0) {
        throw CommandError("`" + path + "`: row " + std::to_string(rows.size() + 1) + " has an empty mask");
      }
    }
    const auto ids_at = all_ids.begin() + static_cast<std::ptrdiff_t>(start);
    const auto mask_at = all_masks.begin() + static_cast<std::ptrdiff_t>(start);
    check_ids(all_ids.data() + start, kept, bundle, "`" + path + "` row " + std::to_string(rows.size() + 1) + ": ");
    rows.push_back({{ids_at, ids_at + static_cast<std::ptrdiff_t>(kept)},
                    {mask_at, mask_at + static_cast<std::ptrdiff_t>(kept)}});
  }
  return rows;
}

void check_ids(const int64_t* ids, size_t count, const Bundle& bundle, const std::string& where) {
  const Json* stated = bundle.manifest.find("vocabulary_size");
  uint64_t vocabulary = 0;
  if (stated == nullptr || !stated->as_size(&vocabulary)) {
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || static_cast<uint64_t>(ids[i]) >= vocabulary) {
      throw CommandError(where + "id `" + std::to_string(ids[i]) + "` at position " + std::to_string(i + 1) +
                         " is outside of the vocabulary of " + std::to_string(vocabulary) + " tokens");
    }
  }
}

void check_probe(const Bundle& bundle, const Task* task, const Program& program) {
  char message[kMessageSize];
  check(spartan_check_probe(bundle.handle.get(), task == nullptr ? nullptr : task->get(), program.get(), message,
                            sizeof message),
        message);
}

Row row_of_length(const Bundle& bundle, size_t length) {
  std::vector<int64_t> pattern;
  const Json* probe = bundle.manifest.find("probe");
  const Json* ids = probe == nullptr ? nullptr : probe->find("input_ids");
  const std::function<void(const Json&)> collect = [&](const Json& value) {
    uint64_t id = 0;
    if (value.as_size(&id)) {
      pattern.push_back(static_cast<int64_t>(id));
    }
    for (const Json& item : value.items()) {
      collect(item);
    }
  };
  if (ids != nullptr) {
    collect(*ids);
  }
  for (int64_t id = 1; pattern.size() < 2 && id <= 16; ++id) {
    pattern.push_back(id);
  }
  Row row;
  for (size_t i = 0; i < length; ++i) {
    row.ids.push_back(pattern[i % pattern.size()]);
  }
  row.mask.assign(length, 1);
  return row;
}

std::vector<spartan_tensor> inputs_of(const Row& row, const std::vector<spartan_tensor>& more) {
  std::vector<spartan_tensor> inputs = {row_tensor(row.ids), row_tensor(row.mask)};
  inputs.insert(inputs.end(), more.begin(), more.end());
  return inputs;
}

ExtraInputs::ExtraInputs(const std::string& path) {
  if (path.empty()) {
    return;
  }
  file_ = std::make_unique<Safetensors>(path);
  for (const TensorView& view : file_->tensors()) {
    if (view.shape.size() > SPARTAN_MAX_RANK) {
      throw CommandError("`" + path + "`: tensor `" + view.name + "` has too many dimensions");
    }
    spartan_tensor tensor{};
    tensor.dtype = dtype_of(view.dtype);
    tensor.rank = static_cast<int32_t>(view.shape.size());
    std::copy(view.shape.begin(), view.shape.end(), tensor.sizes);
    tensor.data = view.data;
    tensor.bytes = view.bytes;
    if (reinterpret_cast<uintptr_t>(view.data) % 8 != 0) {
      copies_.push_back(std::make_unique<std::vector<uint64_t>>((view.bytes + 7) / 8));
      if (view.bytes > 0) {
        memcpy(copies_.back()->data(), view.data, view.bytes);
      }
      tensor.data = copies_.back()->data();
    }
    tensors_.push_back(tensor);
  }
}

MoreInputs::MoreInputs(const Bundle& bundle, const Options& options) : extra_(options.text("--inputs")) {
  if (options.has("--task")) {
    if (options.has("--inputs")) {
      throw CommandError("`--task` and `--inputs` do not go together");
    }
    task_ = std::make_unique<Task>(bundle, options.text("--task"));
  } else if (is_fleet(bundle) && !options.has("--inputs")) {
    throw CommandError("the bundle has a shared backbone: name the task with `--task`");
  }
}

void MoreInputs::check_probe(Program& program, const Bundle& bundle) const {
  // Neither a bare program nor a fleet has one, and tensors of a file may be anything.
  const bool has_none = bundle.handle == nullptr || is_fleet(bundle) || extra_.given();
  if (!task_ && has_none) {
    return;
  }
  spartan::check_probe(bundle, task_.get(), program);
}

}  // namespace spartan
