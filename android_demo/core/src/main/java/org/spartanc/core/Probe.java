package org.spartanc.core;

import java.util.Arrays;
import java.util.List;

/** An input with the logits that the model gave for it when it was compiled. */
final class Probe {
  private static final double LARGEST_LOGIT = 1e30;

  final long[] ids;
  final long[] mask;
  private final double[] logits;
  private final double tolerance;

  Probe(Fields fields, int classes, int maxLength) throws InputException {
    fields.exactly("input_ids", "attention_mask", "logits", "tolerance");
    ids = ids(fields, maxLength);
    mask = mask(fields, ids.length);
    tolerance = fields.number("tolerance");
    if (tolerance < 0) throw new InputException(fields.where() + ": `tolerance` is negative");
    List<?> row = fields.row("logits");
    if (row.size() != classes) {
      throw new InputException(fields.where() + " has " + row.size() + " logits for " + classes + " classes");
    }
    logits = new double[classes];
    for (int i = 0; i < classes; i++) {
      if (row.get(i) instanceof Number) logits[i] = ((Number) row.get(i)).doubleValue();
      if (!(row.get(i) instanceof Number) || !(Math.abs(logits[i]) < LARGEST_LOGIT)) {
        throw new InputException(fields.where() + ": a logit is not a number");
      }
    }
  }

  /** The probe of a fleet, which is an input to measure with: it has ids and their mask. */
  static void checkInput(Fields fields, int maxLength) throws InputException {
    mask(fields, ids(fields, maxLength).length);
  }

  private static long[] ids(Fields fields, int maxLength) throws InputException {
    long[] ids = fields.row("input_ids", 0, Integer.MAX_VALUE);
    if (ids.length < 1 || ids.length > maxLength) {
      throw new InputException(fields.where() + " has " + ids.length + " ids, allowed are 1 to " + maxLength);
    }
    return ids;
  }

  private static long[] mask(Fields fields, int length) throws InputException {
    long[] mask = fields.row("attention_mask", 0, 1);
    if (mask.length != length) throw new InputException(fields.where() + ": ids and mask are not of one length");
    return mask;
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
