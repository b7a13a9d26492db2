package org.spartanc.core;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Tokens that are found in a text as they stand (`[MASK]`), before it is split into words. */
final class AddedTokens {
  private static final class Token {
    final int id;
    final boolean eatsLeft;
    final boolean eatsRight;

    Token(int id, boolean eatsLeft, boolean eatsRight) {
      this.id = id;
      this.eatsLeft = eatsLeft;
      this.eatsRight = eatsRight;
    }
  }

  /** A part of a text: a token, or what stands between tokens (id -1). */
  static final class Part {
    final String text;
    final int id;

    Part(String text, int id) {
      this.text = text;
      this.id = id;
    }
  }

  /** By first character, longest first. */
  private final Map<Character, List<String>> byFirst = new HashMap<>();
  private final Map<String, Token> tokens = new HashMap<>();

  void add(Fields fields, Normalizer normalizer, boolean normalized) throws InputException {
    String content = fields.text("content");
    if (fields.flag("single_word", false)) {
      throw new InputException("tokenizer.json: `single_word` tokens are not known to this reader");
    }
    String found = normalized ? normalizer.normalize(content) : content;
    if (found.isEmpty()) return;
    Token token = new Token(fields.id("id"), fields.flag("lstrip", false), fields.flag("rstrip", false));
    if (tokens.put(found, token) != null) return;
    List<String> same = byFirst.get(found.charAt(0));
    if (same == null) byFirst.put(found.charAt(0), same = new ArrayList<>());
    same.add(found);
    same.sort((a, b) -> b.length() - a.length());
  }

  /** {@code text} in parts, in order; empty ones are left out. */
  List<Part> split(String text) {
    List<Part> parts = new ArrayList<>();
    int start = 0;
    for (int i = 0; i < text.length(); ) {
      String found = at(text, i);
      if (found == null) {
        i++;
        continue;
      }
      Token token = tokens.get(found);
      int from = i;
      int to = i + found.length();
      while (token.eatsLeft && from > start && isWhite(text.charAt(from - 1))) from--;
      while (token.eatsRight && to < text.length() && isWhite(text.charAt(to))) to++;
      if (start < from) parts.add(new Part(text.substring(start, from), -1));
      parts.add(new Part(found, token.id));
      i = start = to;
    }
    if (start < text.length()) parts.add(new Part(text.substring(start), -1));
    return parts;
  }

  private String at(String text, int i) {
    List<String> candidates = byFirst.get(text.charAt(i));
    if (candidates == null) return null;
    for (String candidate : candidates) {
      if (text.startsWith(candidate, i)) return candidate;
    }
    return null;
  }

  private static boolean isWhite(char c) {
    return Unicode.WHITE.has(c);
  }
}
