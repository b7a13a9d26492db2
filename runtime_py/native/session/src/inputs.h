// What a program is run on: rows of token ids, and the tensors that follow them.
#ifndef SPARTAN_SESSION_INPUTS_H
#define SPARTAN_SESSION_INPUTS_H

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "options.h"
#include "program.h"
#include "safetensors.h"
#include "spartan/session.h"
#include "task.h"

namespace spartan {

// One row of ids with its mask.
struct Row {
  std::vector<int64_t> ids;
  std::vector<int64_t> mask;
};

// The rows of `input_ids` and `attention_mask` in a safetensors file, cut behind the last one of their masks if no
// padding is kept. A CommandError where an id is not below the bundle's `vocabulary_size`, if its manifest states one.
std::vector<Row> read_rows(const std::string& path, bool keep_padding, const Bundle& bundle);

// CommandError, with `where` at its head, for the first of `count` ids that is not below the bundle's `vocabulary_size`, if
// its manifest states one.
void check_ids(const int64_t* ids, size_t count, const Bundle& bundle, const std::string& where = "");

// Runs the probe of `task`, or of a bundle of one task (null). CommandError unless it gives what it should.
void check_probe(const Bundle& bundle, const Task* task, const Program& program);

// `length` tokens out of the bundle's probe, again and again; ids 1 to 16 where there is no probe.
Row row_of_length(const Bundle& bundle, size_t length);

std::vector<spartan_tensor> inputs_of(const Row& row, const std::vector<spartan_tensor>& more);

// Tensors that follow ids and mask, mapped from their file; one that stands at an odd address is copied.
class ExtraInputs {
 public:
  // An empty path: none.
  explicit ExtraInputs(const std::string& path);

  const std::vector<spartan_tensor>& tensors() const { return tensors_; }
  bool given() const { return file_ != nullptr; }

 private:
  std::unique_ptr<Safetensors> file_;
  std::vector<std::unique_ptr<std::vector<uint64_t>>> copies_;
  std::vector<spartan_tensor> tensors_;
};

// What follows ids and mask: the tensors of a task, or of the file that `--inputs` names.
class MoreInputs {
 public:
  MoreInputs(const Bundle& bundle, const Options& options);

  const std::vector<spartan_tensor>& tensors() const { return task_ ? task_->tensors() : extra_.tensors(); }
  const std::vector<Label>& labels(const Bundle& bundle) const { return task_ ? task_->labels() : bundle.labels; }

  // A bundle, or a task, answers only after its probe gave what it should.
  void check_probe(Program& program, const Bundle& bundle) const;

 private:
  ExtraInputs extra_;
  std::unique_ptr<Task> task_;
};

}  // namespace spartan
#endif
