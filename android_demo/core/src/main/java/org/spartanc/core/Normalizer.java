package org.spartanc.core;

/** What is done to a text before it is split. */
interface Normalizer {
  String normalize(String text);
}
