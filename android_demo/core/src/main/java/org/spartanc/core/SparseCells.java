package org.spartanc.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Int8 tensors that are stored without their zeros: docs/formats/task.md, Sparse tensors. */
final class SparseCells {
  private static final int ALIGNMENT = 64;

  private SparseCells() {}

  /** The {@code count} numbers, at least 1, that {@code stored} is of; {@code where} begins what is said if it is of none. */
  static ByteBuffer withZeros(ByteBuffer stored, int count, String where) throws InputException {
    int maskBytes = (int) ((count + 7L) / 8);
    int bytes = stored.limit();
    if (maskBytes > bytes) throw new InputException(where + " is too short for the mask of " + count + " numbers");
    if (count % 8 != 0 && (stored.get(maskBytes - 1) & 0xff) >> count % 8 != 0) {
      throw new InputException(where + " has a mask with bits beyond its " + count + " numbers");
    }
    long end = maskBytes;
    for (int i = 0; i < maskBytes; i++) end += Integer.bitCount(stored.get(i) & 0xff);
    boolean fits = (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT == bytes;
    for (int i = (int) Math.min(end, bytes); fits && i < bytes; i++) fits = stored.get(i) == 0;
    if (!fits) throw new InputException(where + " has " + bytes + " bytes, its mask asks for " + end + " and zeros after them");
    ByteBuffer numbers = ByteBuffer.allocateDirect(count).order(ByteOrder.LITTLE_ENDIAN); // of zeros
    int next = maskBytes;
    for (int i = 0; i < maskBytes; i++) {
      for (int left = stored.get(i) & 0xff; left != 0; left &= left - 1) {
        byte value = stored.get(next++);
        if (value == 0) throw new InputException(where + " holds a zero that its mask says is not one");
        numbers.put(8 * i + Integer.numberOfTrailingZeros(left), value);
      }
    }
    return numbers;
  }
}
