package org.spartanc.core;

import java.util.HashMap;
import java.util.Map;

/** Properties and mappings of characters, the same on every phone; see {@link UnicodeTables}. */
final class Unicode {
  static final int HANGUL = 0xAC00;
  private static final int HANGUL_COUNT = 11172;

  static final Set SPACE = new Set(UnicodeTables.SPACE);
  static final Set REMOVED = new Set(UnicodeTables.REMOVED);
  static final Set WHITE = new Set(UnicodeTables.WHITE);
  static final Set PUNCTUATION = new Set(UnicodeTables.PUNCTUATION);
  static final Set CJK = new Set(UnicodeTables.CJK);
  static final Set MARK = new Set(UnicodeTables.MARK);
  static final Set LETTER = new Set(UnicodeTables.LETTER);
  static final Set NUMBER = new Set(UnicodeTables.NUMBER);
  static final Set ACCENT = new Set(UnicodeTables.ACCENT);
  static final Set REGEX_SPACE = new Set(UnicodeTables.REGEX_SPACE);

  private static final Map<Integer, int[]> LOWER = mapping(UnicodeTables.LOWER);
  static final Map<Integer, int[]> DECOMPOSITION = mapping(UnicodeTables.DECOMPOSITION);
  private static final Map<Integer, int[]> NOTHING = new HashMap<>();
  private static final Map<Integer, Integer> COMBINING = classes(UnicodeTables.COMBINING);

  private Unicode() {}

  /** A set of code points, as ranges in order. */
  static final class Set {
    private final int[] bounds;

    Set(String table) {
      bounds = numbers(table);
    }

    boolean has(int code) {
      int low = 0;
      int high = bounds.length / 2 - 1;
      while (low <= high) {
        int middle = (low + high) >>> 1;
        if (code < bounds[2 * middle]) high = middle - 1;
        else if (code > bounds[2 * middle + 1]) low = middle + 1;
        else return true;
      }
      return false;
    }
  }

  /** The text with a replacement character for every half of a surrogate pair that stands alone. */
  static String wellFormed(String text) {
    StringBuilder result = null;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (!Character.isSurrogate(c)) continue;
      if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
        continue;
      }
      if (result == null) result = new StringBuilder(text);
      result.setCharAt(i, '\uFFFD');
    }
    return result == null ? text : result.toString();
  }

  static String lower(String text) {
    StringBuilder result = new StringBuilder(text.length());
    for (int i = 0, c; i < text.length(); i += Character.charCount(c)) {
      c = text.codePointAt(i);
      append(result, c, LOWER);
    }
    return result.toString();
  }

  static boolean isHangul(int code) {
    return code >= HANGUL && code < HANGUL + HANGUL_COUNT;
  }

  /** Whether a Hangul syllable has no trailing consonant. */
  static boolean isOpenHangul(int code) {
    return isHangul(code) && (code - HANGUL) % 28 == 0;
  }

  /** 0 of a character that canonical ordering leaves where it is. */
  static int combiningClass(int code) {
    Integer its = COMBINING.get(code);
    return its == null ? 0 : its;
  }

  /** Canonical decomposition (NFD). */
  static String decompose(String text) {
    return decompose(text, NOTHING);
  }

  /** Compatibility decomposition (NFKD). */
  static String decomposeCompatibly(String text) {
    return decompose(text, Compatible.DECOMPOSITION);
  }

  /** Apart, for only some tokenizers need it. */
  private static final class Compatible {
    static final Map<Integer, int[]> DECOMPOSITION = mapping(UnicodeTables.COMPATIBLE);
  }

  private static String decompose(String text, Map<Integer, int[]> more) {
    int[] codes = new int[text.length() + 16];
    int count = 0;
    for (int i = 0, c; i < text.length(); i += Character.charCount(c)) {
      c = text.codePointAt(i);
      if (count + 32 > codes.length) codes = java.util.Arrays.copyOf(codes, 2 * codes.length);
      if (isHangul(c)) {
        int syllable = c - HANGUL;
        codes[count++] = 0x1100 + syllable / 588;
        codes[count++] = 0x1161 + syllable % 588 / 28;
        if (syllable % 28 != 0) codes[count++] = 0x11A7 + syllable % 28;
        continue;
      }
      int[] image = more.containsKey(c) ? more.get(c) : DECOMPOSITION.get(c);
      if (image == null) codes[count++] = c;
      else for (int each : image) codes[count++] = each;
    }
    order(codes, count);
    return new String(codes, 0, count);
  }

  /** Canonical ordering: a stable sort of every run of marks by class. Long runs are hostile, so it counts classes. */
  private static void order(int[] codes, int count) {
    int start = 0;
    while (start < count) {
      if (!COMBINING.containsKey(codes[start])) {
        start++;
        continue;
      }
      int end = start;
      boolean sorted = true;
      for (int before = 0; end < count && COMBINING.containsKey(codes[end]); end++) {
        int now = COMBINING.get(codes[end]);
        sorted &= before <= now;
        before = now;
      }
      if (!sorted) sort(codes, start, end);
      start = end;
    }
  }

  private static void sort(int[] codes, int start, int end) {
    int[] first = new int[256];
    for (int i = start; i < end; i++) first[COMBINING.get(codes[i])]++;
    for (int i = 0, sum = 0; i < first.length; i++) {
      int here = first[i];
      first[i] = sum;
      sum += here;
    }
    int[] result = new int[end - start];
    for (int i = start; i < end; i++) result[first[COMBINING.get(codes[i])]++] = codes[i];
    System.arraycopy(result, 0, codes, start, result.length);
  }

  private static void append(StringBuilder result, int code, Map<Integer, int[]> mapping) {
    int[] image = mapping.get(code);
    if (image == null) result.appendCodePoint(code);
    else for (int each : image) result.appendCodePoint(each);
  }

  private static Map<Integer, int[]> mapping(String table) {
    int[] numbers = numbers(table);
    Map<Integer, int[]> result = new HashMap<>();
    for (int i = 0; i < numbers.length; i += 2 + numbers[i + 1]) {
      result.put(numbers[i], java.util.Arrays.copyOfRange(numbers, i + 2, i + 2 + numbers[i + 1]));
    }
    return result;
  }

  private static Map<Integer, Integer> classes(String table) {
    int[] numbers = numbers(table);
    Map<Integer, Integer> result = new HashMap<>();
    for (int i = 0; i < numbers.length; i += 2) result.put(numbers[i], numbers[i + 1]);
    return result;
  }

  private static int[] numbers(String table) {
    String[] parts = table.split(" ");
    int[] result = new int[parts.length];
    int last = 0;
    for (int i = 0; i < parts.length; i++) result[i] = last += Integer.parseInt(parts[i], 36);
    return result;
  }
}
