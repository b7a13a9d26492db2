package org.spartanc.core;

import java.util.HashMap;
import java.util.Map;

/** Tokens and their ids. */
final class Vocabulary {
  private final Map<String, Integer> ids = new HashMap<>();

  static Vocabulary read(Fields fields) throws InputException {
    Vocabulary result = new Vocabulary();
    for (String token : fields.names()) result.ids.put(token, fields.id(token));
    return result;
  }

  /** The id of {@code token}, or -1. */
  int id(String token) {
    Integer id = ids.get(token);
    return id == null ? -1 : id;
  }

  int require(String token, String where) throws InputException {
    int id = id(token);
    if (id < 0) throw new InputException(where + ": token `" + Json.shorten(token) + "` is not in the vocabulary");
    return id;
  }
}
