package org.spartanc.core;

import java.util.List;

/** Words end at white space; every punctuation mark is a word of its own. */
final class BertSplitter implements Splitter {
  @Override
  public void split(String text, boolean atStart, List<String> words) {
    int start = 0;
    for (int i = 0, next; i < text.length(); i = next) {
      int c = text.codePointAt(i);
      next = i + Character.charCount(c);
      boolean alone = Unicode.PUNCTUATION.has(c);
      if (!alone && !Unicode.WHITE.has(c)) continue;
      if (start < i) words.add(text.substring(start, i));
      if (alone) words.add(text.substring(i, next));
      start = next;
    }
    if (start < text.length()) words.add(text.substring(start));
  }
}
