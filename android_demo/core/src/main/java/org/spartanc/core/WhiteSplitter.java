package org.spartanc.core;

import java.util.List;

/** Words end at white space, of which nothing stays. */
final class WhiteSplitter implements Splitter {
  @Override
  public void split(String text, boolean atStart, List<String> words) {
    int start = 0;
    for (int i = 0; i < text.length(); i++) {
      if (!Unicode.WHITE.has(text.charAt(i))) continue;
      if (start < i) words.add(text.substring(start, i));
      start = i + 1;
    }
    if (start < text.length()) words.add(text.substring(start));
  }
}
