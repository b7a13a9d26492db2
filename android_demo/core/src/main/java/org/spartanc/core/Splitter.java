package org.spartanc.core;

import java.util.List;

/** Splits a normalised text into the words that a model makes tokens of. */
interface Splitter {
  /** {@code atStart}: whether nothing stands before {@code text}, which is not empty. */
  void split(String text, boolean atStart, List<String> words);
}
