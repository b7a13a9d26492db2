#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_set>

#include "error.h"

namespace spartan {

namespace {
constexpr int kDeepest = 64;
constexpr size_t kFewMembers = 16;

// Whether `text` is UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool is_utf8(std::string_view text) {
  const auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  for (size_t at = 0; at < text.size();) {
    const unsigned first = byte(at);
    const size_t more = first < 0x80 ? 0 : first >= 0xC2 && first < 0xE0 ? 1 : (first & 0xF0) == 0xE0 ? 2 : 3;
    if (more == 3 && (first < 0xF0 || first > 0xF4)) {
      return false;
    }
    for (size_t i = 1; i <= more; ++i) {
      if ((byte(at + i) & 0xC0) != 0x80) {
        return false;
      }
    }
    const unsigned second = byte(at + 1);
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
        (first == 0xF4 && second > 0x8F)) {
      return false;
    }
    at += more + 1;
  }
  return true;
}

// Whether the JSON number `text`, which no double holds, is too large, and not too small.
bool is_too_large(std::string_view text) {
  const size_t e = std::min(text.find_first_of("eE"), text.size());
  int64_t exponent = 0;
  constexpr int64_t kFar = int64_t{1} << 60;  // more than any text has digits, and twice that still fits
  if (e < text.size()) {
    const size_t digits = e + (text[e + 1] == '+' ? 2 : 1);
    if (std::from_chars(text.data() + digits, text.data() + text.size(), exponent).ec != std::errc()) {
      return text[e + 1] != '-';
    }
    exponent = std::clamp(exponent, -kFar, kFar);
  }
  const std::string_view mantissa = text.substr(0, e);
  const size_t point = std::min(mantissa.find('.'), mantissa.size());
  const size_t first = std::min(mantissa.find_first_of("123456789"), mantissa.size());
  return exponent + static_cast<int64_t>(point) - static_cast<int64_t>(first) > 0;
}

}  // namespace

class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& what, size_t most_values)
      : text_(text), what_(what), values_left_(most_values) {}

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) {
      fail("there is something after the end");
    }
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw CommandError(what_ + " is not valid JSON at byte " + std::to_string(at_) + ": " + reason);
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void expect(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) {
      fail(std::string("expected `") + wanted + "`");
    }
    ++at_;
  }

  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) {
      return false;
    }
    at_ += word.size();
    return true;
  }

  Json parse_value(int depth) {
    if (depth > kDeepest) {
      fail("too many levels");
    }
    if (values_left_-- == 0) {
      fail("too many values");
    }
    skip_space();
    Json value;
    switch (peek()) {
      case '{':
        parse_object(value, depth);
        break;
      case '[':
        parse_array(value, depth);
        break;
      case '"':
        value.kind_ = Json::Kind::kString;
        value.string_ = parse_string();
        break;
      default:
        if (take_word("null")) {
        } else if (take_word("true")) {
          value.kind_ = Json::Kind::kBool;
          value.boolean_ = true;
        } else if (take_word("false")) {
          value.kind_ = Json::Kind::kBool;
        } else {
          parse_number(value);
        }
    }
    return value;
  }

  void parse_object(Json& value, int depth) {
    value.kind_ = Json::Kind::kObject;
    std::unordered_set<std::string> keys;  // of objects with many members only: of few, looking at each is faster
    expect('{');
    skip_space();
    if (peek() == '}') {
      ++at_;
      return;
    }
    while (true) {
      skip_space();
      std::string key = parse_string();
      if (value.members_.size() == kFewMembers) {
        for (const auto& member : value.members_) {
          keys.insert(member.first);
        }
      }
      if (value.members_.size() < kFewMembers ? value.find(key) != nullptr : !keys.insert(key).second) {
        fail("the name `" + key + "` is given twice");
      }
      skip_space();
      expect(':');
      value.members_.emplace_back(std::move(key), parse_value(depth + 1));
      skip_space();
      if (peek() != ',') {
        break;
      }
      ++at_;
    }
    expect('}');
  }

  void parse_array(Json& value, int depth) {
    value.kind_ = Json::Kind::kArray;
    expect('[');
    skip_space();
    if (peek() == ']') {
      ++at_;
      return;
    }
    while (true) {
      value.items_.push_back(parse_value(depth + 1));
      skip_space();
      if (peek() != ',') {
        break;
      }
      ++at_;
    }
    expect(']');
  }

  unsigned parse_hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) {
        fail("expected four hexadecimal digits");
      }
      code = code * 16 + static_cast<unsigned>(digit);
      ++at_;
    }
    return code;
  }

  void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  std::string parse_string() {
    expect('"');
    std::string out;
    while (true) {
      if (at_ >= text_.size()) {
        fail("a string has no end");
      }
      const char c = text_[at_++];
      if (c == '"') {
        return out;
      }
      if (static_cast<unsigned char>(c) < 0x20) {
        fail("a control character in a string");
      }
      if (c != '\\') {
        size_t end = at_;
        while (end < text_.size() && text_[end] != '"' && text_[end] != '\\' &&
               static_cast<unsigned char>(text_[end]) >= 0x20) {
          ++end;
        }
        out.append(text_.substr(at_ - 1, end - at_ + 1));
        at_ = end;
        continue;
      }
      const char escape = peek();
      ++at_;
      switch (escape) {
        case '"':
        case '\\':
        case '/':
          out += escape;
          break;
        case 'b':
          out += '\b';
          break;
        case 'f':
          out += '\f';
          break;
        case 'n':
          out += '\n';
          break;
        case 'r':
          out += '\r';
          break;
        case 't':
          out += '\t';
          break;
        case 'u': {
          unsigned code = parse_hex4();
          if (code >= 0xD800 && code < 0xDC00) {
            if (!take_word("\\u")) {
              fail("half of a surrogate pair");
            }
            const unsigned low = parse_hex4();
            if (low < 0xDC00 || low > 0xDFFF) {
              fail("half of a surrogate pair");
            }
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
          } else if (code >= 0xDC00 && code < 0xE000) {
            fail("half of a surrogate pair");
          }
          append_utf8(out, code);
          break;
        }
        default:
          fail("an unknown escape");
      }
    }
  }

  void skip_digits() {
    const size_t start = at_;
    while (peek() >= '0' && peek() <= '9') {
      ++at_;
    }
    if (at_ == start) {
      fail("expected a value");
    }
  }

  void parse_number(Json& value) {
    const size_t start = at_;
    bool whole = true;
    if (peek() == '-') {
      whole = false;
      ++at_;
    }
    const size_t digits = at_;
    skip_digits();
    if (text_[digits] == '0' && at_ - digits > 1) {
      fail("a number starts with 0");
    }
    if (peek() == '.') {
      whole = false;
      ++at_;
      skip_digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      whole = false;
      ++at_;
      if (peek() == '+' || peek() == '-') {
        ++at_;
      }
      skip_digits();
    }
    value.kind_ = Json::Kind::kNumber;
    const char* first = text_.data() + start;
    const char* last = text_.data() + at_;
    const auto read = std::from_chars(first, last, value.number_);
    if (read.ec == std::errc::result_out_of_range) {
      value.number_ = is_too_large(text_.substr(start, at_ - start)) ? (*first == '-' ? -INFINITY : INFINITY) : 0;
    } else if (read.ec != std::errc()) {
      fail("a number that cannot be read");
    }
    if (whole) {
      value.is_size_ = std::from_chars(first, last, value.size_).ec == std::errc();
    }
  }

  std::string_view text_;
  const std::string& what_;
  size_t values_left_;
  size_t at_ = 0;
};

Json Json::parse(std::string_view text, const std::string& what, size_t most_values) {
  if (!is_utf8(text)) {
    throw CommandError(what + " is not valid JSON: it is not UTF-8");
  }
  return JsonParser(text, what, most_values).document();
}

const Json* Json::find(std::string_view key) const {
  for (const auto& member : members_) {
    if (member.first == key) {
      return &member.second;
    }
  }
  return nullptr;
}

bool Json::as_size(uint64_t* value) const {
  if (is_size_) {
    *value = size_;
  }
  return is_size_;
}

bool Json::as_count(uint64_t* value, uint64_t least, uint64_t most) const {
  return as_size(value) && least <= *value && *value <= most;
}

bool Json::is_number() const { return kind_ == Kind::kNumber && std::fabs(number_) < 1e300; }

bool Json::is_text() const { return is_string() && string_.find('\0') == std::string::npos; }

std::string json_quote(std::string_view text) {
  static const char* const kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

template <typename Number>
static std::string shortest(Number value) {
  if (!std::isfinite(value)) {
    return "null";
  }
  char text[48];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

std::string json_number(double value) { return shortest(value); }
std::string json_number(float value) { return shortest(value); }

}  // namespace spartan
