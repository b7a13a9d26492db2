// A bundle's probe: one input with the logits that the program has to answer it with.
#ifndef SPARTAN_FORMATS_PROBE_H
#define SPARTAN_FORMATS_PROBE_H

#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace spartan {

class Probe {
 public:
  // `value` is the probe of a manifest or of a task's file; `what` names that in messages. Throws CommandError unless
  // it holds one row of at most `max_length` ids, its mask, `classes` logits and a tolerance.
  Probe(const Json& value, uint64_t classes, uint64_t max_length, const std::string& what);

  const std::vector<int64_t>& ids() const { return ids_; }
  const std::vector<int64_t>& mask() const { return mask_; }

  // The probe of a fleet, which is an input to measure with: CommandError unless it has one row of ids and its mask.
  static void check_input(const Json& value, uint64_t max_length, const std::string& what);

  // Throws CommandError unless `logits` are the expected ones.
  void check(const std::vector<float>& logits) const;

 private:
  std::string what_;
  std::vector<int64_t> ids_;
  std::vector<int64_t> mask_;
  std::vector<float> logits_;
  double tolerance_ = 0;
};

}  // namespace spartan
#endif
