package org.spartanc.core;

/** A loaded program: logits for token ids and their mask. Used by one thread at a time. */
public interface Program extends AutoCloseable {
  float[] run(long[] ids, long[] mask) throws InputException;

  @Override
  void close();
}
