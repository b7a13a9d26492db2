package org.spartanc.core;

import java.util.ArrayList;
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
    Object value = values.get(name);
    if (!(value instanceof Number)) throw wrong(name, "a number");
    return ((Number) value).doubleValue();
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
      if (!(each instanceof String)) throw wrong(name, "a list of texts");
      result.add((String) each);
    }
    return result;
  }

  long[] integers(String name) throws InputException {
    List<Object> given = list(name);
    long[] result = new long[given.size()];
    for (int i = 0; i < result.length; i++) {
      if (!(given.get(i) instanceof Long)) throw wrong(name, "a list of whole numbers");
      result[i] = (Long) given.get(i);
    }
    return result;
  }

  private InputException wrong(String name, String kind) {
    return new InputException(where + ": `" + name + "` is not " + kind);
  }
}
