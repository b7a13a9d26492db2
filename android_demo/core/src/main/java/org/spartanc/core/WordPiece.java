package org.spartanc.core;

/** BERT's: the longest piece that the vocabulary has, from the left; a word with a part that it lacks is unknown. */
final class WordPiece implements WordModel {
  private final Vocabulary vocabulary;
  private final int unknown;
  private final String prefix;
  private final long longestWord;
  private final int longestPiece;

  WordPiece(Fields fields) throws InputException {
    Fields tokens = fields.object("vocab");
    vocabulary = Vocabulary.read(tokens);
    unknown = vocabulary.require(fields.text("unk_token"), fields.where());
    prefix = fields.text("continuing_subword_prefix", "##");
    longestWord = fields.isNull("max_input_chars_per_word")
        ? 100
        : fields.integer("max_input_chars_per_word", 1, 10_000);
    int longest = 0;
    for (String token : tokens.names()) longest = Math.max(longest, token.length());
    longestPiece = longest;
  }

  @Override
  public void tokenize(String word, Ids ids) {
    if (word.codePointCount(0, word.length()) > longestWord) {
      ids.add(unknown);
      return;
    }
    int before = ids.size();
    for (int start = 0; start < word.length(); ) {
      int end = Math.min(word.length(), start + longestPiece);
      int id = -1;
      while (end > start && (id = piece(word, start, end)) < 0) end--;
      if (id < 0) {
        ids.truncate(before);
        ids.add(unknown);
        return;
      }
      ids.add(id);
      start = end;
    }
  }

  private int piece(String word, int start, int end) {
    String part = word.substring(start, end);
    return vocabulary.id(start == 0 ? part : prefix + part);
  }
}
