package org.spartanc.core;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.function.ToIntFunction;

/** The tokens of single bytes, `&lt;0x41&gt;`, that stand in for characters that are no tokens. */
final class ByteTokens {
  private final int[] ids = new int[256];

  /** {@code idOf} gives a token's id, or -1. */
  ByteTokens(ToIntFunction<String> idOf) {
    Arrays.setAll(ids, each -> idOf.applyAsInt(String.format("<0x%02X>", each)));
  }

  /** Adds the tokens of a text's UTF-8; false, and none, where one of them is missing. */
  boolean add(String text, Ids to) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    for (byte each : bytes) if (ids[each & 255] < 0) return false;
    for (byte each : bytes) to.add(ids[each & 255]);
    return true;
  }
}
