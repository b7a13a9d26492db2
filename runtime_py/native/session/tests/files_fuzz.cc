// The readers of files: JSON, safetensors, PEM keys, manifests, tasks of a fleet. Any bytes give a value or a
// CommandError.
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "json.h"
#include "manifest.h"
#include "probe.h"
#include "safetensors.h"
#include "sha256.h"
#include "signature.h"
#include "task.h"
#include "driver.h"

namespace {

using spartan::CommandError;
using spartan::Json;

constexpr const char* kJson =
    R"({"a":[1,-2.5e3,"\u00e9\ud83d\ude00\n",true,null],"probe":{"input_ids":[[1,2]],"attention_mask":[[1,1]],"logits":[[0.5,1]],"tolerance":1e-4}})";
constexpr const char* kHeader =
    R"({"__metadata__":{"x":"y"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"I64","shape":[1],"data_offsets":[16,24]}})";

constexpr const char* kFleet =
    R"({"format":"spartanc-bundle","format_version":1,"target":"host","program":"model.pte","problem":"fleet","labels":[],"max_length":16,"quantization":"none","lowering":"fused","probe":{"input_ids":[[1]],"attention_mask":[[1]]},"files":{"model.pte":{"sha256":"abababababababababababababababababababababababababababababababab","bytes":3},"t/a":{"sha256":"abababababababababababababababababababababababababababababababab","bytes":0}},"fleet":{"backbone":{"digest":"abababababababababababababababababababababababababababababababab"},"quantization":"none","bounds":{"parents":[1,4],"cells":[1,16],"classes":[1,3]},"inputs":[{"name":"m.layout","dtype":"I64","shape":[3]},{"name":"c","dtype":"F32","shape":["classes","cell_columns"]},{"name":"k","dtype":"I8","shape":["cells",8]}],"tasks":{"a":{"file":"t/a"}}}})";
constexpr const char* kManifest =
    R"({"format":"spartanc-bundle","format_version":1,"target":"host","program":"model.pte","program_format":"executorch","problem":"classification","labels":["a","b"],"max_length":16,"quantization":"int8","lowering":"portable","vocabulary_size":9,"operators":["x"],"backends":[],"inputs":[{"name":"input_ids","dtype":"int64","shape":[1,"L"]},{"name":"attention_mask","dtype":"int64","shape":[1,"L"]}],"outputs":[{"name":"logits","dtype":"float32","shape":[1,2]}],"probe":{"input_ids":[[1,2]],"attention_mask":[[1,1]],"logits":[[0.5,1]],"tolerance":1e-4},"files":{"model.pte":{"sha256":"abababababababababababababababababababababababababababababababab","bytes":3}}})";
constexpr const char* kTask =
    R"({\"name\":\"t\",\"backbone\":\"abababababababababababababababababababababababababababababababab\",\"quantization\":\"none\",\"problem\":\"classification\",\"labels\":[\"a\",\"b\"],\"memory\":{\"parents\":2,\"cells\":4,\"top_k\":1,\"temperature\":1.6,\"layer_norm\":\"none\"},\"probe\":{\"input_ids\":[[1]],\"attention_mask\":[[1]],\"logits\":[[0.5,1]],\"tolerance\":1e-4})";
constexpr const char* kTensors =
    R"("m.layout":{"dtype":"I64","shape":[3],"data_offsets":[0,24]},"c":{"dtype":"F32","shape":[2,16],"data_offsets":[24,152]},)";
// The int8 cells, with their zeros and without.
constexpr const char* kDense = R"("k":{"dtype":"I8","shape":[4,8],"data_offsets":[152,184]}})";
constexpr const char* kSparse = R"("k":{"dtype":"U8","shape":[64],"data_offsets":[152,216]}})";
constexpr const char* kSaysSparse = R"(,\"sparse\":{\"k\":[4,8]})";

// A sound text with a few of its bytes replaced, cut or repeated.
std::string altered(std::string text, fuzz::Bytes& in) {
  for (int changes = in.byte() % 5; changes > 0; --changes) {
    const size_t at = in.word() % (text.size() + 1);
    switch (in.byte() % 4) {
      case 0:
        text.insert(at, 1, static_cast<char>(in.byte()));
        break;
      case 1:
        text.erase(at, in.byte() % 9);
        break;
      case 2:
        text.insert(at, text.substr(at, in.byte() % 40));
        break;
      default:
        if (at < text.size()) {
          text[at] = "0123456789{}[]\",:-.eE\\u"[in.byte() % 23];
        }
    }
  }
  return text;
}

class File {
 public:
  explicit File(const std::string& content) : descriptor_(memfd_create("fuzz", 0)) {
    if (descriptor_ < 0 || write(descriptor_, content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
      abort();
    }
  }
  ~File() { close(descriptor_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

// A mask of 32 numbers and those that it has, in 64 bytes; at times with a byte that does not belong there.
std::string sparse_cells(fuzz::Bytes& in) {
  std::string stored;
  size_t numbers = 0;
  for (int i = 0; i < 4; ++i) {
    stored += static_cast<char>(in.byte());
    numbers += static_cast<size_t>(__builtin_popcount(static_cast<uint8_t>(stored.back())));
  }
  stored.append(numbers, '\1');
  stored.resize(64, '\0');
  if (in.byte() % 4 == 0) {
    stored[in.byte() % 64] = static_cast<char>(in.byte());
  }
  return stored;
}

// A task's file, sound but for what `in` alters in its texts; sealed, as otherwise its digest were all that is ever read.
std::string task_file(fuzz::Bytes& in) {
  const std::string before = R"({"__metadata__":{"digest":")";
  const bool sparse = in.byte() % 2 == 1;
  std::string header = before + std::string(64, '0') + R"(","format":"spartanc-task","format_version":")" +
                       (sparse ? "2" : "1") + R"(","task":")" +
                       altered(std::string(kTask) + (sparse ? kSaysSparse : "") + "}", in) + "\"}," +
                       altered(std::string(kTensors) + (sparse ? kSparse : kDense), in);
  header.append((64 - (8 + header.size()) % 64) % 64, ' ');
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  file += header;
  const int64_t layout[3] = {2, 4, in.byte() % 16 == 15 ? in.size() : 1};
  file.append(reinterpret_cast<const char*>(layout), sizeof layout);
  file.append(in.byte() % 16 == 15 ? in.byte() : 128, '\0');
  file += sparse ? sparse_cells(in) : std::string(32, '\1');
  const std::string digest = spartan::sha256_hex(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  if (in.byte() % 16 != 15) {
    file.replace(8 + before.size(), digest.size(), digest);
  }
  return file;
}

void open_task(fuzz::Bytes& in) {
  const spartan::Manifest manifest(in.byte() % 4 == 0 ? altered(kFleet, in) : kFleet, "a bundle");
  if (!manifest.fleet) {
    return;
  }
  const File written(task_file(in));
  const spartan::TaskFile task(written.path(), *manifest.fleet, manifest.max_length);
  for (const spartan_tensor& tensor : task.tensors()) {
    spartan::Sha256 all;  // reads every byte of it
    all.update(tensor.data, tensor.bytes);
    all.hex();
  }
}

size_t walk(const Json& json) {
  size_t count = 1 + json.string().size();
  for (const Json& item : json.items()) {
    count += walk(item);
  }
  for (const auto& [name, value] : json.members()) {
    count += name.size() + walk(value);
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Bytes in(data, size);
  try {
    switch (in.byte() % 6) {
      case 0: {
        const Json json = Json::parse(altered(kJson, in), "a document");
        walk(json);
        if (const Json* probe = json.find("probe")) {
          spartan::Probe(*probe, 2, 16, "a document").check({0.5f, 1.0f});
        }
        break;
      }
      case 1:
        walk(Json::parse({reinterpret_cast<const char*>(data), size}, "bytes"));
        break;
      case 2: {
        std::string header = altered(kHeader, in);
        uint64_t length = in.byte() % 8 == 0 ? in.word() : header.size();
        std::string file(reinterpret_cast<const char*>(&length), sizeof length);
        const File written(file + header + std::string(in.byte() % 3 == 0 ? in.byte() : 24, '\1'));
        const spartan::Safetensors read(written.path());
        for (const auto& view : read.tensors()) {
          spartan::Sha256 all;  // reads every byte of it
          all.update(view.data, view.bytes);
          all.hex();
        }
        break;
      }
      case 3: {
        // What is altered is sound as long as nothing is, else only the first check would be tried.
        static const bool sound = [] {
          fuzz::Bytes nothing(nullptr, 0);
          try {
            open_task(nothing);
            const spartan::Manifest manifest(kManifest, "a bundle");
          } catch (const CommandError& error) {
            fprintf(stderr, "FAILED: what is sound is refused: %s\n", error.what());
            abort();
          }
          return true;
        }();
        (void)sound;
        open_task(in);
        break;
      }
      case 4: {
        const spartan::Manifest manifest(altered(kManifest, in), "a bundle");
        walk(manifest.json);
        break;
      }
      default: {
        const std::string pem =
            "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP"
            "40Li/hp/m47n60p8D54WK84zV2sxXs7Ltkb/rlvvAA==\n-----END PUBLIC KEY-----\n";
        const File key(altered(pem, in));
        std::vector<uint8_t> signature(in.byte() % 100);
        for (uint8_t& byte : signature) {
          byte = in.byte();
        }
        if (spartan::is_signed(data, size, signature.data(), signature.size(), key.path())) {
          abort();
        }
      }
    }
  } catch (const CommandError&) {
  }
  return 0;
}
