package org.spartanc.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** An object of a JSON document whose fields are asked for by kind; what is missing or of another kind is an error. */
final class Fields {
  private final Map<String, Object> values;
  private final String where;

  private Fields(Map<String, Object> values, String where) {
    this.values = values;
    this.where = where;
  }

  @SuppressWarnings("unchecked")
  static Fields of(Object value, String where) throws InputException {
    if (!(value instanceof Map)) throw new InputException(where + " is not an object");
    return new Fields((Map<String, Object>) value, where);
  }

  Iterable<String> names() {
    return values.keySet();
  }

  String where() {
    return where;
  }

  Object raw(String name) {
    return values.get(name);
  }

  boolean has(String name) {
    return values.containsKey(name);
  }

  /** Fails unless the object has these members and no others. */
  Fields exactly(String... names) throws InputException {
    return exactlyWith(null, names);
  }

  /** Fails unless the object has the members {@code names}, perhaps {@code optional}, and no others. */
  Fields exactlyWith(String optional, String... names) throws InputException {
    boolean same = values.size() == names.length + (values.containsKey(optional) ? 1 : 0);
    for (String name : names) same &= values.containsKey(name);
    if (!same) throw new InputException(where + " does not hold exactly " + Arrays.asList(names));
    return this;
  }

  boolean isNull(String name) {
    return values.get(name) == null;
  }

  Fields object(String name) throws InputException {
    return of(values.get(name), where + ", `" + Json.shorten(name) + "`");
  }

  String text(String name) throws InputException {
    Object value = values.get(name);
    if (!(value instanceof String)) throw wrong(name, "text");
    return (String) value;
  }

  /** Text that no reader cuts short: without U+0000. */
  String plainText(String name) throws InputException {
    return plainText(values.get(name), where + ": `" + Json.shorten(name) + "`");
  }

  static String plainText(Object value, String where) throws InputException {
    if (!(value instanceof String) || ((String) value).indexOf('\0') >= 0) {
      throw new InputException(where + " is not text without U+0000");
    }
    return (String) value;
  }

  /** One of the {@code known} words. */
  String word(String name, String... known) throws InputException {
    String value = text(name);
    if (!Arrays.asList(known).contains(value)) {
      throw new InputException(where + " has the " + name + " `" + Json.shorten(value) + "`, which is unknown");
    }
    return value;
  }

  String digest(String name) throws InputException {
    String value = text(name);
    if (!value.matches("[0-9a-f]{64}")) throw wrong(name, "a digest");
    return value;
  }

  String text(String name, String absent) throws InputException {
    return isNull(name) ? absent : text(name);
  }

  boolean flag(String name, boolean absent) throws InputException {
    Object value = values.get(name);
    if (value == null) return absent;
    if (!(value instanceof Boolean)) throw wrong(name, "true or false");
    return (Boolean) value;
  }

  /** True or false; null where there is no such field, or null stands in it. */
  Boolean flag(String name) throws InputException {
    return isNull(name) ? null : flag(name, false);
  }

  long integer(String name, long least, long most) throws InputException {
    Object value = values.get(name);
    if (!(value instanceof Long)) throw wrong(name, "a whole number");
    long number = (Long) value;
    if (number < least || number > most) {
      throw new InputException(where + ": `" + name + "` is " + number + ", not within " + least + " and " + most);
    }
    return number;
  }

  int id(String name) throws InputException {
    return (int) integer(name, 0, Integer.MAX_VALUE);
  }

  double number(String name) throws InputException {
    return number(values.get(name), where + ": `" + Json.shorten(name) + "`");
  }

  static double number(Object value, String where) throws InputException {
    if (!(value instanceof Number) || !(Math.abs(((Number) value).doubleValue()) < 1e300)) {
      throw new InputException(where + " is not a number");
    }
    return ((Number) value).doubleValue();
  }

  Pieces pieces(String name) throws InputException {
    Object value = values.get(name);
    if (!(value instanceof Pieces)) throw wrong(name, "a list of pieces with their scores");
    return (Pieces) value;
  }

  @SuppressWarnings("unchecked")
  List<Object> list(String name) throws InputException {
    Object value = values.get(name);
    if (!(value instanceof List)) throw wrong(name, "a list");
    return (List<Object>) value;
  }

  List<String> texts(String name) throws InputException {
    List<String> result = new ArrayList<>();
    for (Object each : list(name)) {
      if (!(each instanceof String) || ((String) each).indexOf('\0') >= 0) throw wrong(name, "a list of texts");
      result.add((String) each);
    }
    return result;
  }

  /** A list of whole numbers within {@code least} and {@code most}. */
  long[] integers(String name, long least, long most) throws InputException {
    return integers(name, list(name), least, most);
  }

  /** A row of them: {@code [[1, 2]]}, as a tensor [1, n] is written. */
  long[] row(String name, long least, long most) throws InputException {
    return integers(name, row(name), least, most);
  }

  private long[] integers(String name, List<?> given, long least, long most) throws InputException {
    long[] result = new long[given.size()];
    for (int i = 0; i < result.length; i++) {
      Object each = given.get(i);
      if (!(each instanceof Long) || (Long) each < least || (Long) each > most) {
        throw wrong(name, "a list of whole numbers from " + least + " to " + most);
      }
      result[i] = (Long) each;
    }
    return result;
  }

  List<?> row(String name) throws InputException {
    List<Object> rows = list(name);
    if (rows.size() != 1 || !(rows.get(0) instanceof List)) throw wrong(name, "one row");
    return (List<?>) rows.get(0);
  }

  private InputException wrong(String name, String kind) {
    return new InputException(where + ": `" + name + "` is not " + kind);
  }
}
