#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "bundle.h"
#include "commands.h"
#include "json.h"
#include "mapped_file.h"
#include "print.h"
#include "program.h"

namespace spartan {

namespace {

std::string info_text(const spartan_tensor_info& info) {
  static const char* const kNames[] = {"float32", "int64", "int32", "int8", "uint8", "bool", "float16"};
  std::string sizes;
  for (int32_t d = 0; d < info.rank; ++d) {
    sizes += std::string(d > 0 ? "," : "") + "[" + std::to_string(info.min_sizes[d]) + "," +
             std::to_string(info.max_sizes[d]) + "]";
  }
  const std::string name = info.dtype >= 0 && info.dtype <= SPARTAN_FLOAT16 ? kNames[info.dtype] : "other";
  return "{\"dtype\":" + json_quote(name) + ",\"sizes\":[" + sizes + "]}";
}

}  // namespace

int info(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  const Bundle bundle = open_bundle(options.bundle, options.text("--require-signature"));
  const std::chrono::duration<double, std::milli> checked = std::chrono::steady_clock::now() - start;
  if (options.has("--cold")) {
    drop_from_page_cache(bundle.program);
  }
  const Program program(bundle, options);
  std::vector<spartan_tensor_info> inputs(spartan_input_count(program.get()));
  std::vector<spartan_tensor_info> outputs(spartan_output_count(program.get()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(spartan_input_info(program.get(), i, &inputs[i]), "an input has no description");
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    check(spartan_output_info(program.get(), i, &outputs[i]), "an output has no description");
  }
  const spartan_statistics statistics = program.statistics();
  printf("{\"inputs\":[%s],\"outputs\":[%s],\"program_bytes\":%llu,\"planned_bytes\":%llu,\"load_ms\":%s,"
         "\"peak_rss_mb\":%s,\"threads\":%u,\"check_ms\":%s,\"kernels\":%s,"
         "\"signature\":\"%s\"}\n",
         joined(inputs, info_text).c_str(), joined(outputs, info_text).c_str(),
         static_cast<unsigned long long>(statistics.program_bytes),
         static_cast<unsigned long long>(statistics.planned_bytes),
         json_number(milliseconds(statistics.load_ns)).c_str(), json_number(megabytes(statistics.peak_rss_bytes)).c_str(),
         statistics.threads, json_number(checked.count()).c_str(), kernels_text().c_str(),
         signature_text(bundle).c_str());
  return 0;
}

}  // namespace spartan
