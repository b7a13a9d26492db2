// JSON (RFC 8259), as much as manifests and safetensors headers need; hostile input ends in CommandError.
#ifndef SPARTAN_SESSION_JSON_H
#define SPARTAN_SESSION_JSON_H

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spartan {

class Json {
 public:
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

  // `what` names the document in messages. At most 64 levels; a key may stand only once in an object.
  static Json parse(std::string_view text, const std::string& what);

  Kind kind() const { return kind_; }
  bool is_object() const { return kind_ == Kind::kObject; }
  bool is_array() const { return kind_ == Kind::kArray; }
  bool is_string() const { return kind_ == Kind::kString; }
  const std::string& string() const { return string_; }
  double number() const { return number_; }
  bool boolean() const { return boolean_; }
  const std::vector<Json>& items() const { return items_; }
  const std::vector<std::pair<std::string, Json>>& members() const { return members_; }

  // The member called `key`, or null where this is no object or has none.
  const Json* find(std::string_view key) const;

  // True where this is a whole number that fits and is not negative.
  bool as_size(uint64_t* value) const;

 private:
  friend class JsonParser;
  Kind kind_ = Kind::kNull;
  bool boolean_ = false;
  bool is_size_ = false;
  uint64_t size_ = 0;
  double number_ = 0;
  std::string string_;
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
};

// `text` as a JSON string, with its quotes.
std::string json_quote(std::string_view text);
// Shortest form that reads back as the same value; null for NaN and infinities.
std::string json_number(double value);
std::string json_number(float value);

}  // namespace spartan
#endif
