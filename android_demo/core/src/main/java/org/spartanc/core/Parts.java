package org.spartanc.core;

/** Finds the reader of each part of a tokenizer.json by its type; an unknown type is refused by name. */
final class Parts {
  private Parts() {}

  static Normalizer normalizer(Object value) throws InputException {
    if (value == null) return text -> text;
    Fields fields = Fields.of(value, "tokenizer.json, `normalizer`");
    String type = fields.text("type");
    if (!type.equals("BertNormalizer")) throw unknown("normalizer", type);
    return new BertNormalizer(fields);
  }

  static Splitter splitter(Object value) throws InputException {
    Fields fields = Fields.of(value, "tokenizer.json, `pre_tokenizer`");
    String type = fields.text("type");
    switch (type) {
      case "BertPreTokenizer":
        return new BertSplitter();
      case "ByteLevel":
        return new ByteLevelSplitter(fields.flag("add_prefix_space", true), fields.flag("use_regex", true));
      default:
        throw unknown("pre-tokenizer", type);
    }
  }

  static WordModel model(Fields fields) throws InputException {
    String type = fields.text("type", fields.isNull("merges") ? "WordPiece" : "BPE");
    switch (type) {
      case "WordPiece":
        return new WordPiece(fields);
      case "BPE":
        return new BytePairs(fields);
      default:
        throw unknown("model", type);
    }
  }

  private static InputException unknown(String part, String type) {
    return new InputException("tokenizer.json: " + part + " `" + Json.shorten(type) + "` is not known");
  }
}
