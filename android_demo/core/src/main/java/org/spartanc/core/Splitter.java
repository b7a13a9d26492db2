package org.spartanc.core;

import java.util.List;

/** Splits a normalised text into the words that a model makes tokens of. */
interface Splitter {
  void split(String text, List<String> words);
}
