#include "safetensors.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "error.h"
#include "json.h"

namespace spartan {

namespace {

constexpr uint64_t kLongestHeader = 100'000'000;  // the limit of the format's own reader

struct Row {
  const char* name;
  size_t size;
  spartan_dtype dtype;
};

constexpr Row kTypes[] = {
    {"BOOL", 1, SPARTAN_BOOL},       {"U8", 1, SPARTAN_UINT8},         {"I8", 1, SPARTAN_INT8},
    {"I16", 2, SPARTAN_OTHER_DTYPE}, {"U16", 2, SPARTAN_OTHER_DTYPE},  {"F16", 2, SPARTAN_FLOAT16},
    {"BF16", 2, SPARTAN_OTHER_DTYPE}, {"I32", 4, SPARTAN_INT32},       {"U32", 4, SPARTAN_OTHER_DTYPE},
    {"F32", 4, SPARTAN_FLOAT32},     {"F64", 8, SPARTAN_OTHER_DTYPE},  {"I64", 8, SPARTAN_INT64},
    {"U64", 8, SPARTAN_OTHER_DTYPE},
};

const Row* find_type(const std::string& name) {
  for (const Row& row : kTypes) {
    if (name == row.name) {
      return &row;
    }
  }
  return nullptr;
}

uint64_t little_endian(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) {
    value = value << 8 | bytes[i];
  }
  return value;
}

TensorView read_tensor(const std::string& path, const std::string& name, const Json& entry, const uint8_t* data,
                       uint64_t data_size) {
  const auto fail = [&](const std::string& what) {
    throw CommandError("`" + path + "`: tensor `" + name + "` " + what);
  };
  const Json* dtype = entry.find("dtype");
  const Json* shape = entry.find("shape");
  const Json* offsets = entry.find("data_offsets");
  if (dtype == nullptr || !dtype->is_string() || shape == nullptr || !shape->is_array() || offsets == nullptr ||
      !offsets->is_array() || offsets->items().size() != 2) {
    fail("has no valid dtype, shape and data_offsets");
  }
  const Row* type = find_type(dtype->string());
  if (type == nullptr) {
    fail("has the unknown dtype `" + dtype->string() + "`");
  }
  TensorView view;
  view.name = name;
  view.dtype = dtype->string();
  uint64_t bytes = type->size;
  for (const Json& item : shape->items()) {
    uint64_t size = 0;
    if (!item.as_size(&size) || size > static_cast<uint64_t>(INT64_MAX) ||
        __builtin_mul_overflow(bytes, size, &bytes)) {
      fail("has a shape that is not valid");
    }
    view.shape.push_back(static_cast<int64_t>(size));
  }
  uint64_t begin = 0;
  uint64_t end = 0;
  if (!offsets->items()[0].as_size(&begin) || !offsets->items()[1].as_size(&end) || begin > end || end > data_size) {
    fail("reaches outside the file");
  }
  if (end - begin != bytes) {
    fail("has " + std::to_string(end - begin) + " bytes, its shape needs " + std::to_string(bytes));
  }
  view.data = data + begin;
  view.bytes = static_cast<size_t>(bytes);
  return view;
}

}  // namespace

Safetensors::Safetensors(const std::string& path, const std::function<void(const MappedFile&)>& before)
    : path_(path), file_(path) {
  if (before != nullptr) {
    before(file_);
  }
  if (file_.size() < 8) {
    throw CommandError("`" + path + "` is too short for a safetensors file");
  }
  const uint64_t header_size = little_endian(file_.data());
  if (header_size > kLongestHeader || header_size > file_.size() - 8) {
    throw CommandError("`" + path + "` is not a safetensors file: its header would have " +
                       std::to_string(header_size) + " bytes");
  }
  const std::string_view header(reinterpret_cast<const char*>(file_.data()) + 8, static_cast<size_t>(header_size));
  header_ = Json::parse(header, "the header of `" + path + "`");
  if (!header_.is_object()) {
    throw CommandError("the header of `" + path + "` is not a JSON object");
  }
  data_offset_ = 8 + static_cast<size_t>(header_size);
  const uint8_t* data = file_.data() + data_offset_;
  const uint64_t data_size = file_.size() - 8 - header_size;
  for (const auto& [name, entry] : header_.members()) {
    if (name != "__metadata__") {
      tensors_.push_back(read_tensor(path, name, entry, data, data_size));
    }
  }
  std::vector<const TensorView*> by_offset;
  for (const TensorView& tensor : tensors_) {
    by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const TensorView* a, const TensorView* b) {
    return a->data != b->data ? a->data < b->data : a->bytes < b->bytes;
  });
  const uint8_t* expected = data;
  for (const TensorView* tensor : by_offset) {
    if (tensor->data != expected) {
      throw CommandError("`" + path + "`: tensor `" + tensor->name + "` overlaps another, or bytes before it are unused");
    }
    expected += tensor->bytes;
  }
  if (expected != data + data_size) {
    throw CommandError("`" + path + "` has bytes after its last tensor");
  }
}

const Json& Safetensors::metadata() const {
  static const Json kNone;
  const Json* found = header_.find("__metadata__");
  return found == nullptr ? kNone : *found;
}

const TensorView* Safetensors::find(const std::string& name) const {
  for (const TensorView& tensor : tensors_) {
    if (tensor.name == name) {
      return &tensor;
    }
  }
  return nullptr;
}

const TensorView& Safetensors::get(const std::string& name) const {
  const TensorView* tensor = find(name);
  if (tensor == nullptr) {
    throw CommandError("`" + path_ + "` has no tensor `" + name + "`");
  }
  return *tensor;
}

spartan_dtype dtype_of(const std::string& format_dtype) {
  const Row* row = find_type(format_dtype);
  return row == nullptr ? SPARTAN_OTHER_DTYPE : row->dtype;
}

void write_float_matrix(const std::string& path, const std::string& name, const std::vector<float>& values,
                        size_t rows, size_t columns) {
  const size_t bytes = values.size() * sizeof(float);
  std::string header = "{" + json_quote(name) + ":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(rows) + "," +
                       std::to_string(columns) + "],\"data_offsets\":[0," + std::to_string(bytes) + "]}}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file += static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i));
  }
  file += header;
  file.append(reinterpret_cast<const char*>(values.data()), bytes);
  write_whole(path, file.data(), file.size());
}

}  // namespace spartan
