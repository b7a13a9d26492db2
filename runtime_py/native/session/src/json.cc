#include "json.h"

#include <charconv>
#include <cmath>
#include <unordered_set>

#include "error.h"

namespace spartan {

namespace {
constexpr int kDeepest = 64;
constexpr size_t kFewMembers = 16;
}

class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) {
      fail("something stands after the end");
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
        fail("`" + key + "` stands twice");
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
    if (read.ec != std::errc() && read.ec != std::errc::result_out_of_range) {
      fail("a number that cannot be read");
    }
    if (whole) {
      value.is_size_ = std::from_chars(first, last, value.size_).ec == std::errc();
    }
  }

  std::string_view text_;
  const std::string& what_;
  size_t at_ = 0;
};

Json Json::parse(std::string_view text, const std::string& what) { return JsonParser(text, what).document(); }

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
