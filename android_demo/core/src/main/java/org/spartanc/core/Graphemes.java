package org.spartanc.core;

/**
 * Extended grapheme clusters: what a reader takes for one character, by Unicode's Annex 29.
 *
 * <p>Regional indicators have no rule: a cluster is asked for only to look up one of less than six bytes, and a flag has
 * eight.
 */
final class Graphemes {
  private static final Unicode.Set JOINED = new Unicode.Set(UnicodeTables.JOINED);
  private static final Unicode.Set PREPENDED = new Unicode.Set(UnicodeTables.PREPENDED);
  private static final Unicode.Set CONTROL = new Unicode.Set(UnicodeTables.CONTROL);
  private static final Unicode.Set PICTURE = new Unicode.Set(UnicodeTables.PICTURE);
  private static final Unicode.Set CONSONANT = new Unicode.Set(UnicodeTables.CONSONANT);
  private static final Unicode.Set LINKER = new Unicode.Set(UnicodeTables.LINKER);
  private static final Unicode.Set BESIDE_LINKER = new Unicode.Set(UnicodeTables.BESIDE_LINKER);
  private static final Unicode.Set HANGUL_L = new Unicode.Set(UnicodeTables.HANGUL_L);
  private static final Unicode.Set HANGUL_V = new Unicode.Set(UnicodeTables.HANGUL_V);
  private static final Unicode.Set HANGUL_T = new Unicode.Set(UnicodeTables.HANGUL_T);
  private static final int NON_JOINER = 0x200C;
  private static final int JOINER = 0x200D;
  /** Below it stand no marks, nothing that is prepended, and no letters of scripts that join them. */
  private static final int FIRST_MARK = 0x300;

  private final String text;
  /** Of the cluster up to here: a pictograph with marks, and a joiner after it. */
  private boolean picture;
  private boolean pictureJoined;
  /** A consonant with marks, and a linker among them. */
  private boolean consonant;
  private boolean consonantLinked;

  private Graphemes(String text) {
    this.text = text;
  }

  /** Where the cluster that begins at {@code start} ends. */
  static int end(String text, int start) {
    int end = start + Character.charCount(text.codePointAt(start));
    if (end == text.length()) return end;
    if (text.charAt(end) < FIRST_MARK && text.charAt(start) < FIRST_MARK) {
      return text.charAt(start) == '\r' && text.charAt(end) == '\n' ? end + 1 : end;
    }
    return new Graphemes(text).endFrom(start);
  }

  private int endFrom(int start) {
    int before = text.codePointAt(start);
    int end = start + Character.charCount(before);
    while (end < text.length()) {
      see(before);
      int next = text.codePointAt(end);
      if (!isJoined(before, next)) break;
      before = next;
      end += Character.charCount(next);
    }
    return end;
  }

  private void see(int code) {
    boolean marks = BESIDE_LINKER.has(code);
    pictureJoined = picture && code == JOINER;
    picture = PICTURE.has(code) || picture && (marks || code == NON_JOINER) && code != JOINER;
    boolean linker = LINKER.has(code);
    consonantLinked = consonant && (linker || consonantLinked && marks);
    consonant = CONSONANT.has(code) || consonant && (marks || linker);
  }

  private boolean isJoined(int before, int next) {
    if (before == '\r' && next == '\n') return true;
    if (CONTROL.has(before) || CONTROL.has(next)) return false;
    if (JOINED.has(next) || PREPENDED.has(before)) return true;
    if (isSyllable(before, next)) return true;
    return pictureJoined && PICTURE.has(next) || consonantLinked && CONSONANT.has(next);
  }

  /** Whether two characters are of one Hangul syllable: leading consonants, vowels, trailing consonants. */
  private static boolean isSyllable(int before, int next) {
    if (HANGUL_L.has(before)) return HANGUL_L.has(next) || HANGUL_V.has(next) || Unicode.isHangul(next);
    boolean closed = Unicode.isHangul(before) && !Unicode.isOpenHangul(before) || HANGUL_T.has(before);
    if (closed) return HANGUL_T.has(next);
    return (Unicode.isOpenHangul(before) || HANGUL_V.has(before)) && (HANGUL_V.has(next) || HANGUL_T.has(next));
  }
}
