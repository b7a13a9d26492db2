package org.spartanc.core;

import java.util.Arrays;
import java.util.List;

/** An input with the logits that the model gave for it when it was compiled. */
final class Probe {
  final long[] ids;
  final long[] mask;
  private final double[] logits;
  private final double tolerance;

  Probe(Fields fields, int classes, int maxLength) throws InputException {
    ids = whole(row(fields, "input_ids"), fields);
    mask = whole(row(fields, "attention_mask"), fields);
    tolerance = fields.number("tolerance");
    List<?> row = row(fields, "logits");
    logits = new double[row.size()];
    for (int i = 0; i < logits.length; i++) {
      if (!(row.get(i) instanceof Number)) throw new InputException(fields.where() + ": a logit is not a number");
      logits[i] = ((Number) row.get(i)).doubleValue();
    }
    if (ids.length == 0 || ids.length != mask.length) {
      throw new InputException(fields.where() + ": ids and mask are not of one length");
    }
    if (ids.length > maxLength || logits.length != classes) {
      throw new InputException(fields.where() + " is not of the program's shape");
    }
  }

  /** A tensor [1, n] is written as a list of one row. */
  private static List<?> row(Fields fields, String name) throws InputException {
    List<?> rows = fields.list(name);
    if (rows.size() != 1 || !(rows.get(0) instanceof List)) {
      throw new InputException(fields.where() + ": `" + name + "` is not one row");
    }
    return (List<?>) rows.get(0);
  }

  private static long[] whole(List<?> row, Fields fields) throws InputException {
    long[] result = new long[row.size()];
    for (int i = 0; i < result.length; i++) {
      if (!(row.get(i) instanceof Long)) throw new InputException(fields.where() + ": an id is not a whole number");
      result[i] = (Long) row.get(i);
    }
    return result;
  }

  /** Fails unless {@code found} is what the probe expects. */
  void check(float[] found) throws InputException {
    if (found.length != logits.length) {
      throw new InputException("the program gave " + found.length + " logits for " + logits.length + " labels");
    }
    for (int i = 0; i < logits.length; i++) {
      // Written so that NaN fails.
      if (!(Math.abs(found[i] - logits[i]) <= tolerance)) {
        throw new InputException("the program gives " + Arrays.toString(found) + " for its probe, expected "
            + Arrays.toString(logits) + ": it is not used");
      }
    }
  }
}
