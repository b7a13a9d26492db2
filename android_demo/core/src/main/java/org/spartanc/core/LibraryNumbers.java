package org.spartanc.core;

/**
 * Numbers as the tokenizers library reads them from JSON, which for a quarter of all is the neighbour of the nearest double.
 *
 * <p>It takes the digits for a whole number, rounds that to a double, and divides it by a power of ten, which rounds again.
 * Of two ways through a word that score the same, the last bit decides.
 */
final class LibraryNumbers {
  private static final int GREATEST_POWER = 308;
  /** Beyond it nothing changes, for no file has so many digits. */
  private static final int GREATEST_EXPONENT = 1_000_000_000;
  private static final double[] POWERS = powers();
  /** A whole number of more digits than fit 64 bits loses those that are left. */
  private static final long TENTH = Long.divideUnsigned(-1L, 10);
  private static final long LAST_DIGIT = Long.remainderUnsigned(-1L, 10);

  private LibraryNumbers() {}

  /** Of what JSON allows for a number; infinite where no double holds it. */
  static double parse(String written) {
    boolean negative = written.charAt(0) == '-';
    long digits = 0;
    int exponent = 0;
    boolean fraction = false;
    boolean full = false;
    int i = negative ? 1 : 0;
    for (; i < written.length() && (written.charAt(i) | 32) != 'e'; i++) {
      if (written.charAt(i) == '.') {
        fraction = true;
        full = false;
        continue;
      }
      int digit = written.charAt(i) - '0';
      int order = Long.compareUnsigned(digits, TENTH);
      full |= order > 0 || order == 0 && digit > LAST_DIGIT;
      if (!full) digits = 10 * digits + digit;
      if (full != fraction) exponent += full ? 1 : -1;
    }
    if (i < written.length()) exponent += exponent(written, i + 1);
    double value = scaled(unsigned(digits), exponent);
    return negative ? -value : value;
  }

  private static int exponent(String written, int at) {
    boolean negative = written.charAt(at) == '-';
    long result = 0;
    for (int i = Character.isDigit(written.charAt(at)) ? at : at + 1; i < written.length(); i++) {
      result = Math.min(GREATEST_EXPONENT, 10 * result + written.charAt(i) - '0');
    }
    return (int) (negative ? -result : result);
  }

  private static double unsigned(long value) {
    return value >= 0 ? value : 2.0 * (value >>> 1 | value & 1);
  }

  private static double scaled(double value, int exponent) {
    double result = value;
    int left = exponent;
    while (left < -GREATEST_POWER && result != 0) {
      result /= POWERS[GREATEST_POWER];
      left += GREATEST_POWER;
    }
    if (result == 0) return 0;
    if (left > GREATEST_POWER) return Double.POSITIVE_INFINITY;
    return left < 0 ? result / POWERS[-left] : result * POWERS[left];
  }

  private static double[] powers() {
    double[] result = new double[GREATEST_POWER + 1];
    for (int i = 0; i < result.length; i++) result[i] = Double.parseDouble("1e" + i);
    return result;
  }
}
