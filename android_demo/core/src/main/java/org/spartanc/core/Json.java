package org.spartanc.core;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads JSON as docs/formats/bundle.md has it: RFC 8259, no name twice in an object, no half of a surrogate pair, a value
 * inside at most {@link #DEPTH} others.
 *
 * <p>Values are {@code Map<String, Object>}, {@code List<Object>}, String, Long (a number without fraction and exponent, of
 * at most 18 characters, and not -0), Double (infinite if no double holds it), Boolean or null.
 */
public final class Json {
  private static final int DEPTH = 64;

  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  /** Parses UTF-8; {@code what} names the document in messages. */
  public static Object parse(byte[] bytes, String what) throws InputException {
    String text;
    try {
      text = StandardCharsets.UTF_8
          .newDecoder()
          .onMalformedInput(CodingErrorAction.REPORT)
          .onUnmappableCharacter(CodingErrorAction.REPORT)
          .decode(ByteBuffer.wrap(bytes))
          .toString();
    } catch (CharacterCodingException e) {
      throw new InputException(what + " is not valid JSON: it is not UTF-8", e);
    }
    return parse(text, what);
  }

  public static Object parse(String text, String what) throws InputException {
    Json json = new Json(text);
    try {
      Object value = json.value(0);
      json.space();
      if (json.at != text.length()) throw json.wrong("something after its end");
      return value;
    } catch (InputException e) {
      throw new InputException(what + " is not valid JSON: " + e.getMessage(), e);
    }
  }

  private InputException wrong(String why) {
    return new InputException(why + " at character " + at);
  }

  private void space() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++;
  }

  private char peek() throws InputException {
    if (at >= text.length()) throw wrong("it ends too early");
    return text.charAt(at);
  }

  private void expect(String word) throws InputException {
    if (!text.startsWith(word, at)) throw wrong("not what was expected (`" + word + "`)");
    at += word.length();
  }

  private Object value(int depth) throws InputException {
    if (depth > DEPTH) throw wrong("nested deeper than " + DEPTH);
    space();
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        expect("true");
        return Boolean.TRUE;
      case 'f':
        expect("false");
        return Boolean.FALSE;
      case 'n':
        expect("null");
        return null;
      default:
        return number();
    }
  }

  private Map<String, Object> object(int depth) throws InputException {
    Map<String, Object> result = new LinkedHashMap<>();
    expect("{");
    space();
    if (peek() == '}') {
      at++;
      return result;
    }
    while (true) {
      space();
      String name = string();
      space();
      expect(":");
      Object value = value(depth + 1);
      if (result.containsKey(name)) throw wrong("the name `" + shorten(name) + "` is given twice");
      result.put(name, value);
      space();
      if (peek() == '}') {
        at++;
        return result;
      }
      expect(",");
    }
  }

  private List<Object> array(int depth) throws InputException {
    List<Object> result = new ArrayList<>();
    expect("[");
    space();
    if (peek() == ']') {
      at++;
      return result;
    }
    while (true) {
      result.add(value(depth + 1));
      space();
      if (peek() == ']') {
        at++;
        return result;
      }
      expect(",");
    }
  }

  private String string() throws InputException {
    expect("\"");
    int start = at;
    while (at < text.length() && text.charAt(at) != '"' && text.charAt(at) != '\\' && text.charAt(at) >= ' ') at++;
    if (peek() == '"') return whole(text.substring(start, at++));
    StringBuilder result = new StringBuilder(text.substring(start, at));
    while (peek() != '"') {
      char c = text.charAt(at++);
      if (c < ' ') throw wrong("a control character in a string");
      result.append(c == '\\' ? escaped() : c);
    }
    at++;
    return whole(result.toString());
  }

  /** {@code found}, which must not hold half of a surrogate pair. */
  private String whole(String found) throws InputException {
    for (int i = 0; i < found.length(); i++) {
      if (!Character.isSurrogate(found.charAt(i))) continue;
      if (i + 1 == found.length() || !Character.isSurrogatePair(found.charAt(i), found.charAt(i + 1))) {
        throw wrong("half of a surrogate pair");
      }
      i++;
    }
    return found;
  }

  private char escaped() throws InputException {
    char c = peek();
    at++;
    switch (c) {
      case '"':
      case '\\':
      case '/':
        return c;
      case 'b':
        return '\b';
      case 'f':
        return '\f';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'u':
        int code = 0;
        for (int i = 0; i < 4; i++, at++) {
          int digit = peek() < 128 ? Character.digit(peek(), 16) : -1;
          if (digit < 0) throw wrong("a malformed \\u");
          code = code << 4 | digit;
        }
        return (char) code;
      default:
        throw wrong("an unknown escape");
    }
  }

  private Number number() throws InputException {
    int start = at;
    if (peek() == '-') at++;
    int digits = digits();
    if (digits == 0 || digits > 1 && text.charAt(at - digits) == '0') throw wrong("no JSON value");
    boolean whole = true;
    if (at < text.length() && text.charAt(at) == '.') {
      whole = false;
      at++;
      if (digits() == 0) throw wrong("a number without digits");
    }
    if (at < text.length() && (text.charAt(at) | 32) == 'e') {
      whole = false;
      at++;
      if (at < text.length() && (text.charAt(at) == '+' || text.charAt(at) == '-')) at++;
      if (digits() == 0) throw wrong("a number without digits");
    }
    String written = text.substring(start, at);
    if (whole && written.length() <= 18 && !written.equals("-0")) return Long.valueOf(written);
    return Double.valueOf(written);
  }

  private int digits() {
    int start = at;
    while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') at++;
    return at - start;
  }

  static String shorten(String text) {
    return text.length() <= 60 ? text : text.substring(0, 60) + "…";
  }
}
