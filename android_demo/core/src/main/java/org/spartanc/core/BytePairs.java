package org.spartanc.core;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;

/** Byte pair encoding: neighbours merge in the order of the list of merges, the leftmost first. */
final class BytePairs implements WordModel {
  private final Vocabulary vocabulary;
  private final int unknown;
  private final boolean fuseUnknown;
  private final boolean wholeWordsFirst;
  private final ByteTokens bytes;
  /** Two ids, left in the upper half, to rank (upper half) and the merged id. */
  private final Map<Long, Long> merges = new HashMap<>();

  BytePairs(Fields fields) throws InputException {
    vocabulary = Vocabulary.read(fields.object("vocab"));
    String token = fields.text("unk_token", null);
    unknown = token == null ? -1 : vocabulary.require(token, fields.where());
    fuseUnknown = fields.flag("fuse_unk", false);
    wholeWordsFirst = fields.flag("ignore_merges", false);
    refuse(fields, "continuing_subword_prefix");
    refuse(fields, "end_of_word_suffix");
    bytes = fields.flag("byte_fallback", false) ? new ByteTokens(vocabulary::id) : null;
    if (!fields.isNull("dropout") && fields.number("dropout") != 0) {
      throw new InputException("tokenizer.json: `dropout` is not known to this reader");
    }
    List<Object> pairs = fields.list("merges");
    for (int rank = 0; rank < pairs.size(); rank++) addMerge(pairs.get(rank), rank, fields.where());
  }

  private static void refuse(Fields fields, String name) throws InputException {
    if (!fields.text(name, "").isEmpty()) {
      throw new InputException("tokenizer.json: `" + name + "` is not known to this reader");
    }
  }

  private void addMerge(Object pair, int rank, String where) throws InputException {
    String left;
    String right;
    if (pair instanceof String && ((String) pair).indexOf(' ') > 0) {
      int space = ((String) pair).indexOf(' ');
      left = ((String) pair).substring(0, space);
      right = ((String) pair).substring(space + 1);
    } else if (pair instanceof List
        && ((List<?>) pair).size() == 2
        && ((List<?>) pair).get(0) instanceof String
        && ((List<?>) pair).get(1) instanceof String) {
      left = (String) ((List<?>) pair).get(0);
      right = (String) ((List<?>) pair).get(1);
    } else {
      throw new InputException(where + ": merge " + rank + " is not two tokens");
    }
    long two = pair(vocabulary.require(left, where), vocabulary.require(right, where));
    merges.put(two, (long) rank << 32 | vocabulary.require(left + right, where));
  }

  private static long pair(int left, int right) {
    return (long) left << 32 | right;
  }

  @Override
  public void tokenize(String word, Ids ids) {
    if (wholeWordsFirst && vocabulary.id(word) >= 0) {
      ids.add(vocabulary.id(word));
      return;
    }
    Symbols symbols = new Symbols(parts(word));
    symbols.merge();
    for (int i = 0; i < symbols.count; i++) {
      if (symbols.ids[i] >= 0) ids.add(symbols.ids[i]);
    }
  }

  /** The tokens that merging begins with. An unknown one stands before the next that is known by more than its bytes. */
  private Ids parts(String word) {
    Ids result = new Ids();
    boolean pending = false;
    for (int i = 0, next; i < word.length(); i = next) {
      next = i + Character.charCount(word.codePointAt(i));
      String character = word.substring(i, next);
      int id = vocabulary.id(character);
      if (id < 0 && bytes != null && bytes.add(character, result)) continue;
      if (id < 0 && unknown < 0) continue;
      if (pending && (id >= 0 || !fuseUnknown)) result.add(unknown);
      pending = id < 0;
      if (!pending) result.add(id);
    }
    if (pending) result.add(unknown);
    return result;
  }

  /** The parts of one word as a linked list; a part that was merged into the one before it has id -1. */
  private final class Symbols {
    private final int[] ids;
    private final int[] before;
    private final int[] after;
    private final int count;

    /** Rank, place and pair of merges that were possible when they were added. */
    private final PriorityQueue<long[]> queue = new PriorityQueue<>(
        (a, b) -> a[0] != b[0] ? Long.compare(a[0], b[0]) : Long.compare(a[1], b[1]));

    Symbols(Ids parts) {
      count = parts.size();
      ids = new int[count];
      before = new int[count];
      after = new int[count];
      for (int i = 0; i < count; i++) {
        ids[i] = parts.get(i);
        before[i] = i - 1;
        after[i] = i + 1;
      }
    }

    void merge() {
      for (int i = 0; i + 1 < count; i++) offer(i);
      for (long[] next; (next = queue.poll()) != null; ) {
        int left = (int) next[1];
        int right = after[left];
        if (ids[left] < 0 || right >= count || pair(ids[left], ids[right]) != next[2]) continue;
        ids[left] = (int) (long) merges.get(next[2]);
        ids[right] = -1;
        after[left] = after[right];
        if (after[left] < count) before[after[left]] = left;
        if (before[left] >= 0) offer(before[left]);
        offer(left);
      }
    }

    private void offer(int left) {
      int right = after[left];
      if (right >= count) return;
      long two = pair(ids[left], ids[right]);
      Long merge = merges.get(two);
      if (merge != null) queue.add(new long[] {merge >>> 32, left, two});
    }
  }
}
