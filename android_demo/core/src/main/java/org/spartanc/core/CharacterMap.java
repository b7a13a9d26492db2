package org.spartanc.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;

/**
 * SentencePiece's own normalisation: a double array of byte strings, each with the text that takes its place.
 *
 * <p>As the library does it, a whole grapheme cluster is looked up where it has less than six bytes, and the shortest
 * string that it begins with takes all of it; else each of its characters is.
 */
final class CharacterMap implements Normalizer {
  private static final int SHORT_BYTES = 6;

  /** Of a unit: 8 bits of label, one whether a value follows, one whether the offset is shifted, 22 bits of offset. */
  private final int[] units;
  /** UTF-8; each text ends before a zero. */
  private final byte[] texts;

  CharacterMap(Fields fields) throws InputException {
    ByteBuffer map = ByteBuffer.wrap(decoded(fields)).order(ByteOrder.LITTLE_ENDIAN);
    long bytes = map.remaining() < 4 ? -1 : map.getInt() & 0xFFFFFFFFL;
    if (bytes < 4 || bytes > map.remaining()) {
      throw new InputException(fields.where() + ": `precompiled_charsmap` is not a map of SentencePiece's");
    }
    units = new int[(int) bytes / 4];
    map.asIntBuffer().get(units);
    map.position(map.position() + 4 * units.length);
    texts = new byte[map.remaining()];
    map.get(texts);
    if (!Arrays.equals(new String(texts, StandardCharsets.UTF_8).getBytes(StandardCharsets.UTF_8), texts)) {
      throw new InputException(fields.where() + ": `precompiled_charsmap`: what it maps to is not UTF-8");
    }
  }

  private static byte[] decoded(Fields fields) throws InputException {
    try {
      return Base64.getDecoder().decode(fields.text("precompiled_charsmap"));
    } catch (IllegalArgumentException e) {
      throw new InputException(fields.where() + ": `precompiled_charsmap` is not base64", e);
    }
  }

  @Override
  public String normalize(String text) {
    StringBuilder result = new StringBuilder(text.length() + 16);
    for (int start = 0, end; start < text.length(); start = end) {
      end = Graphemes.end(text, start);
      if (isShort(text, start, end) && appendImage(text, start, end, result)) continue;
      for (int i = start, next; i < end; i = next) {
        next = i + Character.charCount(text.codePointAt(i));
        if (!appendImage(text, i, next, result)) result.append(text, i, next);
      }
    }
    return result.toString();
  }

  private static boolean isShort(String text, int start, int end) {
    int bytes = 0;
    for (int i = start; i < end && bytes < SHORT_BYTES; i++) {
      char c = text.charAt(i);
      bytes += c < 0x80 ? 1 : c < 0x800 || Character.isSurrogate(c) ? 2 : 3;
    }
    return bytes < SHORT_BYTES;
  }

  /** Whether something of the map stands at the beginning of this part of a text; if so, appends what it becomes. */
  private boolean appendImage(String text, int start, int end, StringBuilder result) {
    int node = offset(units[0]);
    for (int i = start, c; i < end; i += Character.charCount(c)) {
      c = text.codePointAt(i);
      for (int left = bytes(c) - 1; left >= 0; left--) {
        int label = utf8(c, left);
        node ^= label;
        if (label == 0 || node >= units.length || (units[node] & 0x800000FF) != label) return false;
        int unit = units[node];
        node ^= offset(unit);
        if ((unit >>> 8 & 1) == 0) continue;
        if (node >= units.length) return false;
        append(units[node] & Integer.MAX_VALUE, result);
        return true;
      }
    }
    return false;
  }

  private static int offset(int unit) {
    return unit >>> 10 << ((unit & 1 << 9) >>> 6);
  }

  private static int bytes(int code) {
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }

  /** The byte of a character's UTF-8 after which {@code left} are left. */
  private static int utf8(int code, int left) {
    int count = bytes(code);
    if (left < count - 1) return code >>> 6 * left & 0x3F | 0x80;
    return count == 1 ? code : code >>> 6 * left | 0xF00 >>> count & 0xFF;
  }

  private void append(int from, StringBuilder result) {
    int to = from;
    while (to < texts.length && texts[to] != 0) to++;
    if (from < to) result.append(new String(texts, from, to - from, StandardCharsets.UTF_8));
  }
}
