package org.spartanc.core;

import java.nio.ByteBuffer;

/** One tensor of a task. */
public final class TaskTensor {
  public final String name;
  /** F32, F16, I64, I32, I8 or U8. */
  public final String type;
  public final long[] shape;
  /** Little endian and direct: a view of the mapped file, or a copy with the zeros that the file leaves out. */
  public final ByteBuffer data;

  TaskTensor(String name, String type, long[] shape, ByteBuffer data) {
    this.name = name;
    this.type = type;
    this.shape = shape;
    this.data = data;
  }
}
