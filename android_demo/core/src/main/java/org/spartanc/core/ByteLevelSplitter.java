package org.spartanc.core;

import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * GPT-2's and RoBERTa's: words with the space before them, each byte of their UTF-8 written as one visible character.
 *
 * <p>The words are what this expression finds, read by hand, for a text may be long and hostile:
 * {@code 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+}
 */
final class ByteLevelSplitter implements Splitter {
  private static final String[] ENDINGS = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
  private static final char[] VISIBLE = visible();

  private final boolean prefixSpace;
  private final boolean useExpression;

  ByteLevelSplitter(boolean prefixSpace, boolean useExpression) {
    this.prefixSpace = prefixSpace;
    this.useExpression = useExpression;
  }

  @Override
  public void split(String given, boolean atStart, List<String> words) {
    String text = prefixSpace && !given.startsWith(" ") ? " " + given : given;
    for (int start = 0, end; start < text.length(); start = end) {
      end = useExpression ? end(text, start) : text.length();
      words.add(visible(text.substring(start, end)));
    }
  }

  private enum Kind {
    LETTER,
    NUMBER,
    SPACE,
    OTHER;

    static Kind of(int code) {
      if (Unicode.LETTER.has(code)) return LETTER;
      if (Unicode.NUMBER.has(code)) return NUMBER;
      return Unicode.REGEX_SPACE.has(code) ? SPACE : OTHER;
    }
  }

  private static int end(String text, int start) {
    for (String ending : ENDINGS) {
      if (text.startsWith(ending, start)) return start + ending.length();
    }
    int word = text.charAt(start) == ' ' && start + 1 < text.length() ? start + 1 : start;
    Kind kind = Kind.of(text.codePointAt(word));
    if (kind != Kind.SPACE) return endOfKind(text, word, kind);
    int end = endOfKind(text, start, Kind.SPACE);
    // The last of several spaces belongs to the word that follows.
    int last = end - Character.charCount(text.codePointBefore(end));
    return end == text.length() || last == start ? end : last;
  }

  private static int endOfKind(String text, int start, Kind kind) {
    int i = start;
    while (i < text.length() && Kind.of(text.codePointAt(i)) == kind) i += Character.charCount(text.codePointAt(i));
    return i;
  }

  private static String visible(String word) {
    byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
    char[] result = new char[bytes.length];
    for (int i = 0; i < bytes.length; i++) result[i] = VISIBLE[bytes[i] & 255];
    return new String(result);
  }

  private static char[] visible() {
    char[] result = new char[256];
    char next = 256;
    for (int b = 0; b < 256; b++) {
      boolean printed = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
      result[b] = printed ? (char) b : next++;
    }
    return result;
  }
}
