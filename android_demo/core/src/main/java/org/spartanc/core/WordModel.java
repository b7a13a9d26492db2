package org.spartanc.core;

/** Makes tokens of a word. */
interface WordModel {
  void tokenize(String word, Ids ids);

  Vocabulary vocabulary();

  static WordModel read(Fields fields) throws InputException {
    String type = fields.text("type", fields.isNull("merges") ? "WordPiece" : "BPE");
    switch (type) {
      case "WordPiece":
        return new WordPiece(fields);
      case "BPE":
        return new BytePairs(fields);
      default:
        throw new InputException("tokenizer.json: model `" + Json.shorten(type) + "` is not known");
    }
  }
}
