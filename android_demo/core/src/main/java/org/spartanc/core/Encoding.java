package org.spartanc.core;

/** The token ids of one text, special tokens included, and whether the text was too long and was cut. */
public final class Encoding {
  public final long[] ids;
  public final boolean truncated;

  Encoding(long[] ids, boolean truncated) {
    this.ids = ids;
    this.truncated = truncated;
  }
}
