package org.spartanc.core;

import java.util.List;

/** Splits a normalised text into the words that a model makes tokens of. */
interface Splitter {
  void split(String text, List<String> words);

  static Splitter read(Object value) throws InputException {
    Fields fields = Fields.of(value, "tokenizer.json, `pre_tokenizer`");
    String type = fields.text("type");
    switch (type) {
      case "BertPreTokenizer":
        return new BertSplitter();
      case "ByteLevel":
        return new ByteLevelSplitter(fields.flag("add_prefix_space", true), fields.flag("use_regex", true));
      default:
        throw new InputException("tokenizer.json: pre-tokenizer `" + Json.shorten(type) + "` is not known");
    }
  }
}
