package org.spartanc.core;

import java.util.List;

/** A loaded program: logits for token ids, their mask and a task's tensors. Used by one thread at a time. */
public interface Program extends AutoCloseable {
  float[] run(long[] ids, long[] mask, List<TaskTensor> tensors) throws InputException;

  @Override
  void close();
}
