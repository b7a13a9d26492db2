package org.spartanc.core;

import java.util.ArrayList;
import java.util.List;

/** Finds the reader of each part of a tokenizer.json by its type; an unknown type is refused by name. */
final class Parts {
  private Parts() {}

  static Splitter splitter(Object value) throws InputException {
    if (value == null) return (text, atStart, words) -> words.add(text);
    Fields fields = Fields.of(value, "tokenizer.json, `pre_tokenizer`");
    String type = fields.text("type");
    switch (type) {
      case "BertPreTokenizer":
        return new BertSplitter();
      case "ByteLevel":
        return new ByteLevelSplitter(fields.flag("add_prefix_space", true), fields.flag("use_regex", true));
      case "Metaspace":
        return new Metaspace(fields);
      case "WhitespaceSplit":
        return new WhiteSplitter();
      case "Sequence": {
        List<Splitter> splitters = new ArrayList<>();
        for (Object each : fields.list("pretokenizers")) splitters.add(splitter(each));
        return new SplitterChain(splitters);
      }
      default:
        throw unknown("pre-tokenizer", type);
    }
  }

  static WordModel model(Fields fields) throws InputException {
    String untold = fields.raw("vocab") instanceof Pieces ? "Unigram" : fields.isNull("merges") ? "WordPiece" : "BPE";
    String type = fields.text("type", untold);
    switch (type) {
      case "WordPiece":
        return new WordPiece(fields);
      case "BPE":
        return new BytePairs(fields);
      case "Unigram":
        return new Unigram(fields);
      default:
        throw unknown("model", type);
    }
  }

  static InputException unknown(String part, String type) {
    return new InputException("tokenizer.json: " + part + " `" + Json.shorten(type) + "` is not known");
  }
}
