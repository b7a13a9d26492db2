package org.spartanc.core;

import java.util.Arrays;

/** A growing list of token ids. */
final class Ids {
  private int[] values = new int[64];
  private int size;

  void add(int id) {
    if (size == values.length) values = Arrays.copyOf(values, 2 * size);
    values[size++] = id;
  }

  int size() {
    return size;
  }

  int get(int index) {
    return values[index];
  }

  /** Drops all after the first {@code length}. */
  void truncate(int length) {
    size = Math.min(size, length);
  }
}
