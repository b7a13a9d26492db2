package org.spartanc.core;

import java.util.ArrayList;
import java.util.List;

/** One splitter after the other, each on what the one before leaves. */
final class SplitterChain implements Splitter {
  private final List<Splitter> splitters;

  SplitterChain(List<Splitter> splitters) {
    this.splitters = splitters;
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
