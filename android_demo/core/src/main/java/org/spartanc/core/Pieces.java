package org.spartanc.core;

import java.util.Arrays;

/**
 * SentencePiece's vocabulary: pieces with their scores, the id of each its place.
 *
 * <p>It may have a quarter of a million, so it is a few arrays and no object a piece. A piece is found by a hash of its
 * characters that grows with them.
 */
final class Pieces {
  private static final int FREE = -1;
  private static final int FIRSTS = 1 << 12;

  private char[] characters = new char[1 << 12];
  private int[] ends = new int[1 << 10];
  private double[] scores = new double[1 << 10];
  private int count;
  private double leastScore = Double.POSITIVE_INFINITY;
  /** Ids, each at the place of its hash or at the next free one. */
  private int[] places;
  /** By the low bits of a piece's first character. */
  private final int[] longest = new int[FIRSTS];

  private Pieces() {}

  /** Reads {@code [["▁the",-3.5], …]}. */
  static Pieces read(Json json) throws InputException {
    Pieces result = new Pieces();
    for (boolean more = json.begins(); more; more = json.goesOn()) {
      if (!json.begins()) throw json.misfit("no piece with a score");
      String piece = json.nextString();
      if (!json.goesOn()) throw json.misfit("a piece without a score");
      double score = LibraryNumbers.parse(json.nextNumber());
      if (Double.isInfinite(score)) throw json.misfit("a score that no double holds");
      if (json.goesOn()) throw json.misfit("more than a piece and its score");
      result.add(piece, score);
    }
    result.index();
    return result;
  }

  private void add(String piece, double score) {
    int start = count == 0 ? 0 : ends[count - 1];
    int end = start + piece.length();
    if (end > characters.length) characters = Arrays.copyOf(characters, 2 * end);
    if (count == ends.length) {
      ends = Arrays.copyOf(ends, 2 * count);
      scores = Arrays.copyOf(scores, 2 * count);
    }
    piece.getChars(0, piece.length(), characters, start);
    ends[count] = end;
    scores[count++] = score;
    leastScore = Math.min(leastScore, score);
  }

  private void index() {
    characters = Arrays.copyOf(characters, count == 0 ? 0 : ends[count - 1]);
    ends = Arrays.copyOf(ends, count);
    scores = Arrays.copyOf(scores, count);
    places = new int[Math.max(2, Integer.highestOneBit(count) << 2)];
    Arrays.fill(places, FREE);
    for (int id = 0; id < count; id++) {
      String piece = piece(id);
      if (piece.isEmpty()) continue;
      int hash = 0;
      for (int i = 0; i < piece.length(); i++) hash = grow(hash, piece.charAt(i));
      places[place(piece, 0, piece.length(), hash)] = id; // of one piece twice the last counts
      int first = piece.charAt(0) & FIRSTS - 1;
      longest[first] = Math.max(longest[first], piece.length());
    }
  }

  private String piece(int id) {
    int start = start(id);
    return new String(characters, start, ends[id] - start);
  }

  private int start(int id) {
    return id == 0 ? 0 : ends[id - 1];
  }

  /** The hash of a text with {@code next} after it; that of no text is 0. */
  static int grow(int hash, char next) {
    return 31 * hash + next;
  }

  /** The id of this part of a text, whose hash is given, or -1. */
  int id(String text, int from, int to, int hash) {
    return places[place(text, from, to, hash)];
  }

  /** The id of a whole text, or -1. */
  int id(String text) {
    int hash = 0;
    for (int i = 0; i < text.length(); i++) hash = grow(hash, text.charAt(i));
    return id(text, 0, text.length(), hash);
  }

  private int place(String text, int from, int to, int hash) {
    int place = hash * 0x9E3779B9 >>> Integer.numberOfLeadingZeros(places.length) + 1;
    while (places[place] != FREE && !equals(places[place], text, from, to)) place = place + 1 & places.length - 1;
    return place;
  }

  private boolean equals(int id, String text, int from, int to) {
    int start = start(id);
    if (ends[id] - start != to - from) return false;
    for (int i = from; i < to; i++) if (characters[start + i - from] != text.charAt(i)) return false;
    return true;
  }

  /** No piece that begins with {@code first} has more characters. */
  int longest(char first) {
    return longest[first & FIRSTS - 1];
  }

  double score(int id) {
    return scores[id];
  }

  double leastScore() {
    return leastScore;
  }

  int count() {
    return count;
  }
}
