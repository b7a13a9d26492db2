package org.spartanc.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Canonical composition: a letter and a mark to the letter that has it, where Unicode takes the two for one. */
final class Compositions {
  private static final int LEADING = 0x1100;
  private static final int VOWEL = 0x1161;
  private static final int TRAILING = 0x11A7;
  private static final int NO_CODE = -1;

  /** Two characters, the first in the upper half. */
  private static final Map<Long, Integer> PAIRS = pairs();

  private Compositions() {}

  /** What a decomposed text is with its pairs composed. */
  static String compose(String text) {
    int[] codes = text.codePoints().toArray();
    int count = 0;
    int starter = -1;
    int lastClass = 0;
    for (int code : codes) {
      int its = Unicode.combiningClass(code);
      boolean near = count == starter + 1;
      if (starter >= 0 && (near || lastClass < its && lastClass != 0)) {
        int whole = pair(codes[starter], code);
        if (whole != NO_CODE) {
          codes[starter] = whole;
          continue;
        }
      }
      if (its == 0) starter = count;
      lastClass = its;
      codes[count++] = code;
    }
    return new String(codes, 0, count);
  }

  private static int pair(int first, int second) {
    if (first >= LEADING && first < LEADING + 19 && second >= VOWEL && second < VOWEL + 21) {
      return Unicode.HANGUL + ((first - LEADING) * 21 + second - VOWEL) * 28;
    }
    if (Unicode.isOpenHangul(first) && second > TRAILING && second < TRAILING + 28) return first + second - TRAILING;
    Integer whole = PAIRS.get((long) first << 32 | second);
    return whole == null ? NO_CODE : whole;
  }

  /** Of every character that a composed text may hold, the last of its decomposition and what the others compose to. */
  private static Map<Long, Integer> pairs() {
    Unicode.Set excluded = new Unicode.Set(UnicodeTables.UNCOMPOSED);
    List<Map.Entry<Integer, int[]>> decompositions = new ArrayList<>(Unicode.DECOMPOSITION.entrySet());
    decompositions.sort((a, b) -> a.getValue().length - b.getValue().length);
    Map<String, Integer> wholes = new HashMap<>();
    Map<Long, Integer> result = new HashMap<>();
    for (Map.Entry<Integer, int[]> each : decompositions) {
      int[] parts = each.getValue();
      if (excluded.has(each.getKey())) continue;
      int last = parts.length - 1;
      Integer first = last == 1 ? (Integer) parts[0] : wholes.get(Arrays.toString(Arrays.copyOf(parts, last)));
      wholes.put(Arrays.toString(parts), each.getKey());
      result.put((long) first << 32 | parts[last], each.getKey());
    }
    return result;
  }
}
