// JSON (RFC 8259) as docs/formats/bundle.md has it; hostile input ends in CommandError.
#ifndef SPARTAN_FORMATS_JSON_H
#define SPARTAN_FORMATS_JSON_H

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spartan {

class Json {
 public:
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

  // `what` names the document in messages. UTF-8; a value inside at most 64 others; no key twice in one object. A value
  // takes some hundred bytes of memory, one of them in `text` is enough for it: `most_values` bounds that.
  static Json parse(std::string_view text, const std::string& what, size_t most_values = SIZE_MAX);

  Kind kind() const { return kind_; }
  bool is_object() const { return kind_ == Kind::kObject; }
  bool is_array() const { return kind_ == Kind::kArray; }
  bool is_string() const { return kind_ == Kind::kString; }
  const std::string& string() const { return string_; }
  double number() const { return number_; }  // infinite if float64 can't hold it
  bool boolean() const { return boolean_; }
  const std::vector<Json>& items() const { return items_; }
  const std::vector<std::pair<std::string, Json>>& members() const { return members_; }

  // The member called `key`, or null where this is no object or has none.
  const Json* find(std::string_view key) const;

  // True if this is a whole number that fits, written without sign, fraction and exponent.
  bool as_size(uint64_t* value) const;
  // True if it is also from `least` to `most`; kMostCount is the greatest that the formats know.
  bool as_count(uint64_t* value, uint64_t least = 0, uint64_t most = kMostCount) const;
  static constexpr uint64_t kMostCount = (uint64_t{1} << 53) - 1;

  // True for a finite number of magnitude below 1e300.
  bool is_number() const;
  // True for a string without U+0000, which would end it in C.
  bool is_text() const;

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
