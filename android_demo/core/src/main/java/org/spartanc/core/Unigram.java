package org.spartanc.core;

import java.util.Arrays;

/**
 * SentencePiece's: of all ways to make pieces of a word the one whose scores add up to most, and of equal ones the one whose
 * last pieces begin first.
 *
 * <p>A character that is no piece counts as unknown, at ten less than the least score; unknown ones that follow each other are
 * one token, or with {@code byte_fallback} the pieces of their bytes.
 */
final class Unigram implements WordModel {
  private static final double UNKNOWN_PENALTY = 10;
  private static final int NONE = -1;

  private final Pieces pieces;
  private final int unknown;
  private final ByteTokens bytes;

  Unigram(Fields fields) throws InputException {
    pieces = fields.pieces("vocab");
    if (fields.isNull("unk_id")) {
      throw new InputException(fields.where() + ": a Unigram without `unk_id` is not known to this reader");
    }
    unknown = (int) fields.integer("unk_id", 0, pieces.count() - 1);
    bytes = fields.flag("byte_fallback", false) ? new ByteTokens(pieces::id) : null;
  }

  @Override
  public void tokenize(String word, Ids ids) {
    int[] begins = new int[word.length() + 1];
    int[] found = new int[word.length() + 1];
    search(word, begins, found);
    int count = 0;
    for (int end = word.length(); end > 0; end = begins[end]) count++;
    int[] ends = new int[count];
    for (int end = word.length(); end > 0; end = begins[end]) ends[--count] = end;
    for (int i = 0; i < ends.length; i++) {
      if (found[ends[i]] != unknown) {
        ids.add(found[ends[i]]);
        continue;
      }
      int start = begins[ends[i]];
      while (i + 1 < ends.length && found[ends[i + 1]] == unknown) i++;
      addUnknown(word.substring(start, ends[i]), ids);
    }
  }

  /** Of every place in a word where a piece may end, where the best way's last piece begins, and its id. */
  private void search(String word, int[] begins, int[] found) {
    double unknownScore = pieces.leastScore() - UNKNOWN_PENALTY;
    double[] best = new double[word.length() + 1];
    Arrays.fill(begins, NONE);
    for (int start = 0, next; start < word.length(); start = next) {
      next = start + Character.charCount(word.codePointAt(start));
      boolean single = false;
      int last = Math.min(word.length(), start + pieces.longest(word.charAt(start)));
      int hash = 0;
      for (int end = start + 1; end <= last; end++) {
        hash = Pieces.grow(hash, word.charAt(end - 1));
        int id = pieces.id(word, start, end, hash);
        if (id < 0) continue;
        single |= end == next;
        double score = pieces.score(id) + best[start];
        if (begins[end] != NONE && score <= best[end]) continue;
        best[end] = score;
        begins[end] = start;
        found[end] = id;
      }
      double score = unknownScore + best[start];
      if (single || begins[next] != NONE && score <= best[next]) continue;
      best[next] = score;
      begins[next] = start;
      found[next] = unknown;
    }
  }

  private void addUnknown(String part, Ids ids) {
    int whole = pieces.id(part);
    if (whole >= 0) ids.add(whole);
    else if (bytes == null || !bytes.add(part, ids)) ids.add(unknown);
  }
}
