package org.spartanc.core;

import java.util.ArrayList;
import java.util.List;

/** One splitter after the other, each on what the one before leaves. */
final class SplitterChain implements Splitter {
  private final List<Splitter> splitters;

  SplitterChain(List<Splitter> splitters) throws InputException {
    this.splitters = splitters;
    for (Splitter each : splitters) {
      if (each.asksForStart() && each != splitters.get(0)) {
        throw new InputException("tokenizer.json: prepend_scheme `first` after another pre-tokenizer is not known");
      }
    }
  }

  @Override
  public boolean asksForStart() {
    return !splitters.isEmpty() && splitters.get(0).asksForStart();
  }

  @Override
  public void split(String text, boolean atStart, List<String> words) {
    List<String> parts = new ArrayList<>();
    parts.add(text);
    for (Splitter each : splitters) {
      List<String> next = new ArrayList<>();
      for (String part : parts) each.split(part, atStart, next);
      parts = next;
    }
    words.addAll(parts);
  }
}
