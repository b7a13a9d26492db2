package org.spartanc.core;

/** What is done to a text before it is split. */
interface Normalizer {
  String normalize(String text);

  static Normalizer read(Object value) throws InputException {
    if (value == null) return text -> text;
    Fields fields = Fields.of(value, "tokenizer.json, `normalizer`");
    String type = fields.text("type");
    if (!type.equals("BertNormalizer")) {
      throw new InputException("tokenizer.json: normalizer `" + Json.shorten(type) + "` is not known");
    }
    return new BertNormalizer(fields);
  }
}
