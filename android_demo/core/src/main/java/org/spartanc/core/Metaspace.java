package org.spartanc.core;

import java.util.List;

/** SentencePiece's: spaces become a visible character, which begins every word. */
final class Metaspace implements Splitter {
  private final String mark;
  private final boolean always;
  private final boolean first;
  private final boolean splits;

  Metaspace(Fields fields) throws InputException {
    mark = fields.text("replacement");
    if (mark.codePointCount(0, mark.length()) != 1) {
      throw new InputException(fields.where() + ": `replacement` is not one character");
    }
    String scheme = fields.text("prepend_scheme", "always");
    if (!fields.flag("add_prefix_space", true)) scheme = "never";
    always = scheme.equals("always");
    first = scheme.equals("first");
    if (!always && !first && !scheme.equals("never")) {
      throw new InputException("tokenizer.json: prepend_scheme `" + Json.shorten(scheme) + "` is not known");
    }
    splits = fields.flag("split", true);
  }

  @Override
  public void split(String given, boolean atStart, List<String> words) {
    String text = given.replace(" ", mark);
    if ((always || first && atStart) && !text.startsWith(mark)) text = mark + text;
    int start = 0;
    while (splits && start < text.length()) {
      int next = text.indexOf(mark, start + 1);
      if (next < 0) break;
      words.add(text.substring(start, next));
      start = next;
    }
    words.add(text.substring(start));
  }
}
