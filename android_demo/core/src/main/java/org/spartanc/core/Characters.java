package org.spartanc.core;

import java.util.function.IntUnaryOperator;

/** A normaliser that changes each character by itself, or leaves it out. */
final class Characters implements Normalizer {
  private static final int REMOVED = -1;

  private final IntUnaryOperator change;

  private Characters(IntUnaryOperator change) {
    this.change = change;
  }

  static Characters withoutAccents() {
    return new Characters(code -> Unicode.ACCENT.has(code) ? REMOVED : code);
  }

  /** Of neural machine translation: without control characters, every kind of space as a plain one. */
  static Characters nmt() {
    return new Characters(Characters::nmt);
  }

  private static int nmt(int code) {
    if (code == '\t' || code == '\n' || code == '\f' || code == '\r') return ' ';
    if (code > 0 && code < ' ' || code == 0x7F || code == 0x8F || code == 0x9F) return REMOVED;
    boolean space = code >= 0x200B && code <= 0x200F || code == 0x1680 || code == 0x2028 || code == 0x2029;
    return space || code == 0x2581 || code == 0xFEFF || code == 0xFFFD ? ' ' : code;
  }

  @Override
  public String normalize(String text) {
    StringBuilder result = new StringBuilder(text.length());
    for (int i = 0, c; i < text.length(); i += Character.charCount(c)) {
      c = text.codePointAt(i);
      int changed = change.applyAsInt(c);
      if (changed != REMOVED) result.appendCodePoint(changed);
    }
    return result.toString();
  }
}
