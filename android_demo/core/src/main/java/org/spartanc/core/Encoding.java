package org.spartanc.core;

/**
 * The token ids of one text, special tokens included, whether the text was too long and was cut, and whether nothing of a
 * text became a token, as of one that is all invisible characters.
 */
public final class Encoding {
  public final long[] ids;
  public final boolean truncated;
  public final boolean empty;

  Encoding(long[] ids, boolean truncated, boolean empty) {
    this.ids = ids;
    this.truncated = truncated;
    this.empty = empty;
  }
}
