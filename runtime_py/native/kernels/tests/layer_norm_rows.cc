// LayerNorm of rows from standard input by one instruction set, for tests that compare with other programs.
//
//     layer_norm_rows ISA ROWS HIDDEN EPS < x [ROWS, HIDDEN], weight [HIDDEN], bias [HIDDEN] > out [ROWS, HIDDEN]
//
// Floats of this machine. Ends with 3 where the processor has not the instruction set.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "spartan/layer_norm.h"

namespace {

bool read(std::vector<float>& numbers) {
  return std::fread(numbers.data(), sizeof(float), numbers.size(), stdin) == numbers.size();
}

}  // namespace

int main(int argc, char** argv) {
  using spartan::Isa;
  if (argc != 5) return 2;
  const long long rows = std::atoll(argv[2]), hidden = std::atoll(argv[3]);
  std::vector<float> x(static_cast<std::size_t>(rows * hidden)), out(x.size());
  std::vector<float> weight(static_cast<std::size_t>(hidden)), bias(weight.size());
  if (!read(x) || !read(weight) || !read(bias)) return 2;
  const spartan::LayerNorm norm{hidden, weight.data(), bias.data(), std::strtof(argv[4], nullptr)};
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kNeon}) {
    if (std::strcmp(isa_name(isa), argv[1]) != 0) continue;
    const auto status = add_layer_norm_f32(norm, x.data(), nullptr, 0, rows, out.data(), isa);
    if (status == spartan::Status::kNoSuchKernel) return 3;
    if (status != spartan::Status::kOk) return 2;
    return std::fwrite(out.data(), sizeof(float), out.size(), stdout) == out.size() ? 0 : 2;
  }
  return 2;
}
