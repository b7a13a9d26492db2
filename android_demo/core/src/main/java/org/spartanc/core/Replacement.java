package org.spartanc.core;

/** Puts one text in the place of another, or of runs of spaces. */
final class Replacement implements Normalizer {
  /** Where what is replaced at {@code start} ends; {@code start} where nothing is. */
  private interface Pattern {
    int end(String text, int start);
  }

  private final Pattern pattern;
  private final String content;

  Replacement(Fields fields) throws InputException {
    Fields given = fields.object("pattern");
    content = fields.text("content");
    String text = given.text("String", null);
    pattern = text == null ? regex(given.text("Regex")) : (in, start) -> start + (in.startsWith(text, start) ? text.length() : 0);
    if (text != null && text.isEmpty()) throw new InputException(given.where() + ": `String` is empty");
  }

  /** Those that converted SentencePiece models bring, read by hand. */
  private static Pattern regex(String expression) throws InputException {
    switch (expression) {
      case " {2,}":
        return (text, start) -> {
          int end = start;
          while (end < text.length() && text.charAt(end) == ' ') end++;
          return end - start < 2 ? start : end;
        };
      case "\\s{2,}|[\\n\\r\\t]":
        return (text, start) -> {
          int end = start;
          while (end < text.length() && Unicode.REGEX_SPACE.has(text.charAt(end))) end++;
          boolean alone = end - start == 1 && "\n\r\t".indexOf(text.charAt(start)) >= 0;
          return end - start < 2 && !alone ? start : end;
        };
      default:
        throw new InputException("tokenizer.json: the expression `" + Json.shorten(expression) + "` is not known");
    }
  }

  @Override
  public String normalize(String text) {
    StringBuilder result = new StringBuilder(text.length());
    for (int i = 0; i < text.length(); ) {
      int end = pattern.end(text, i);
      if (end == i) result.append(text.charAt(i++));
      else result.append(content);
      i = Math.max(i, end);
    }
    return result.toString();
  }
}
