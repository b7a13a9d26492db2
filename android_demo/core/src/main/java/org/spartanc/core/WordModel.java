package org.spartanc.core;

/** Makes tokens of a word. */
interface WordModel {
  void tokenize(String word, Ids ids);
}
