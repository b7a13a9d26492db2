package org.spartanc.core;

/** What is done to a text before it is split. */
interface Normalizer {
  String normalize(String text);

  /** Whether the library still takes the first character of the result for the beginning of the text. */
  default boolean keepsStart() {
    return true;
  }
}
