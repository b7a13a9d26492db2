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

  /** Makes another value than a list of lists, of which a great one is a million objects. */
  interface Reader {
    Object read(Json json) throws InputException;
  }

  private final String text;
  private final String readName;
  private final Reader reader;
  private int at;
  private boolean misfit;

  private Json(String text, String readName, Reader reader) {
    this.text = text;
    this.readName = readName;
    this.reader = reader;
  }

  /** Parses UTF-8; {@code what} names the document in messages. */
  public static Object parse(byte[] bytes, String what) throws InputException {
    return parse(bytes, what, null, null);
  }

  /** The same, where {@code reader} reads every list that a member {@code name} holds. */
  static Object parse(byte[] bytes, String what, String name, Reader reader) throws InputException {
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
    return parse(text, what, name, reader);
  }

  public static Object parse(String text, String what) throws InputException {
    return parse(text, what, null, null);
  }

  private static Object parse(String text, String what, String name, Reader reader) throws InputException {
    Json json = new Json(text, name, reader);
    try {
      Object value = json.value(0);
      json.space();
      if (json.at != text.length()) throw json.wrong("something after its end");
      return value;
    } catch (InputException e) {
      String why = json.misfit ? ", `" + name + "`: " : " is not valid JSON: ";
      throw new InputException(what + why + e.getMessage(), e);
    }
  }

  /** Begins a list; whether it has a member. */
  boolean begins() throws InputException {
    space();
    if (peek() != '[') throw other("no list where one is expected");
    at++;
    space();
    if (peek() != ']') return true;
    at++;
    return false;
  }

  /** Whether a list has another member after this one. */
  boolean goesOn() throws InputException {
    space();
    boolean ends = peek() == ']';
    if (ends) at++;
    else expect(",");
    return !ends;
  }

  String nextString() throws InputException {
    space();
    if (peek() != '"') throw other("no text where one is expected");
    return string();
  }

  /** A number as it is written. */
  String nextNumber() throws InputException {
    space();
    if (peek() != '-' && (peek() < '0' || peek() > '9')) throw other("no number where one is expected");
    return written();
  }

  /** Something else stands where a reader looks, which may be no JSON at all. */
  private InputException other(String why) throws InputException {
    value(0);
    return misfit(why);
  }

  /** Valid JSON, but not what a reader reads. */
  InputException misfit(String why) {
    misfit = true;
    return wrong(why);
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
      space();
      boolean own = name.equals(readName) && peek() == '[';
      Object value = own ? reader.read(this) : value(depth + 1);
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
    String written = written();
    boolean whole = written.indexOf('.') < 0 && written.indexOf('e') < 0 && written.indexOf('E') < 0;
    if (whole && written.length() <= 18 && !written.equals("-0")) return Long.valueOf(written);
    return Double.valueOf(written);
  }

  private String written() throws InputException {
    int start = at;
    if (peek() == '-') at++;
    int digits = digits();
    if (digits == 0 || digits > 1 && text.charAt(at - digits) == '0') throw wrong("no JSON value");
    if (at < text.length() && text.charAt(at) == '.') {
      at++;
      if (digits() == 0) throw wrong("a number without digits");
    }
    if (at < text.length() && (text.charAt(at) | 32) == 'e') {
      at++;
      if (at < text.length() && (text.charAt(at) == '+' || text.charAt(at) == '-')) at++;
      if (digits() == 0) throw wrong("a number without digits");
    }
    return text.substring(start, at);
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
