// Reading and writing safetensors: 8 bytes of header length, a JSON header, the tensors' bytes.
// A file is mapped, never copied; nothing in it is trusted.
#ifndef SPARTAN_FORMATS_SAFETENSORS_H
#define SPARTAN_FORMATS_SAFETENSORS_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "json.h"
#include "mapped_file.h"
#include "spartan/session.h"

namespace spartan {

struct TensorView {
  std::string name;
  std::string dtype;  // as the format spells it: F32, I64, …
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

class Safetensors {
 public:
  // Throws CommandError where the file is not exactly what the format asks for: a header that is too long or no
  // JSON, a type, shape, offset or size that disagree, tensors that overlap or leave bytes unused.
  // `before`, if given, sees the mapped file before anything in it is interpreted.
  explicit Safetensors(const std::string& path, const std::function<void(const MappedFile&)>& before = nullptr);

  const std::vector<TensorView>& tensors() const { return tensors_; }  // in the header's order
  const Json& header() const { return header_; }
  const Json& metadata() const;  // null if the file has none
  const MappedFile& file() const { return file_; }
  size_t data_offset() const { return data_offset_; }  // where the tensors' bytes begin
  const TensorView* find(const std::string& name) const;
  const TensorView& get(const std::string& name) const;  // CommandError where it is missing

 private:
  std::string path_;
  MappedFile file_;
  Json header_;
  size_t data_offset_ = 0;
  std::vector<TensorView> tensors_;
};

// The C interface's type for a format's type; SPARTAN_OTHER_DTYPE where there is none.
spartan_dtype dtype_of(const std::string& format_dtype);

// Writes float32 tensors [rows, columns] called `name` to `path`, whole or not at all.
void write_float_matrix(const std::string& path, const std::string& name, const std::vector<float>& values,
                        size_t rows, size_t columns);

}  // namespace spartan
#endif
