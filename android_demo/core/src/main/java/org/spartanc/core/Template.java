package org.spartanc.core;

import java.util.ArrayList;
import java.util.List;

/** Where special tokens stand round one text, and round two. */
final class Template {
  static final int FIRST = -1;
  static final int SECOND = -2;

  private final int[] single;
  private final int[] pair;

  private Template(int[] single, int[] pair) {
    this.single = single;
    this.pair = pair;
  }

  static Template read(Object value) throws InputException {
    if (value == null) return new Template(new int[] {FIRST}, new int[] {FIRST, SECOND});
    Fields fields = Fields.of(value, "tokenizer.json, `post_processor`");
    String type = fields.text("type");
    switch (type) {
      case "TemplateProcessing":
        return new Template(pieces(fields, "single"), pieces(fields, "pair"));
      case "BertProcessing": {
        int cls = special(fields, "cls");
        int sep = special(fields, "sep");
        return new Template(new int[] {cls, FIRST, sep}, new int[] {cls, FIRST, sep, SECOND, sep});
      }
      case "RobertaProcessing": {
        int cls = special(fields, "cls");
        int sep = special(fields, "sep");
        return new Template(new int[] {cls, FIRST, sep}, new int[] {cls, FIRST, sep, sep, SECOND, sep});
      }
      case "ByteLevel":
        return read(null);
      default:
        throw new InputException("tokenizer.json: post-processor `" + Json.shorten(type) + "` is not known");
    }
  }

  private static int special(Fields fields, String name) throws InputException {
    List<Object> two = fields.list(name);
    if (two.size() != 2 || !(two.get(1) instanceof Long)) {
      throw new InputException(fields.where() + ": `" + name + "` is not a token and its id");
    }
    return checked((Long) two.get(1), fields.where());
  }

  private static int checked(long id, String where) throws InputException {
    if (id < 0 || id > Integer.MAX_VALUE) throw new InputException(where + ": " + id + " is no token id");
    return (int) id;
  }

  private static int[] pieces(Fields fields, String name) throws InputException {
    List<Integer> result = new ArrayList<>();
    int first = 0;
    for (Object each : fields.list(name)) {
      Fields piece = Fields.of(each, fields.where() + ", `" + name + "`");
      if (!piece.isNull("Sequence")) {
        boolean isFirst = piece.object("Sequence").text("id").equals("A");
        if (isFirst) first++;
        result.add(isFirst ? FIRST : SECOND);
        continue;
      }
      String token = piece.object("SpecialToken").text("id");
      Fields special = fields.object("special_tokens").object(token);
      for (long id : special.integers("ids", Long.MIN_VALUE, Long.MAX_VALUE)) result.add(checked(id, special.where()));
    }
    if (first != 1 || result.size() - first > 64) {
      throw new InputException(fields.where() + ": `" + name + "` is not a template of one text");
    }
    int[] array = new int[result.size()];
    for (int i = 0; i < array.length; i++) array[i] = result.get(i);
    return array;
  }

  int[] of(boolean isPair) {
    return isPair ? pair : single;
  }

  /** How many special tokens are added to one text or to two. */
  int added(boolean isPair) {
    int count = 0;
    for (int piece : of(isPair)) if (piece >= 0) count++;
    return count;
  }
}
