package org.spartanc.core;

import java.util.Arrays;

/** A proved program with its tokenizer and labels: text in, labels with their scores out. */
public final class Classifier implements AutoCloseable {
  /** Characters of one text; what stands after them could not reach the program anyway. */
  private static final int LONGEST_TEXT = 1 << 20;

  private final Manifest manifest;
  private final Tokenizer tokenizer;
  private final Program program;

  /** Takes over {@code program}, and runs the bundle's probe: a program that answers it otherwise is refused. */
  public Classifier(Bundle bundle, Program program) throws InputException {
    this.manifest = bundle.manifest;
    this.program = program;
    try {
      tokenizer = bundle.tokenizer();
      prove();
    } catch (InputException | RuntimeException e) {
      program.close();
      throw e;
    }
  }

  private void prove() throws InputException {
    Manifest.Probe probe = manifest.probe;
    float[] logits = program.run(probe.ids, probe.mask);
    if (logits.length != probe.logits.length) {
      throw new InputException("the program gave " + logits.length + " logits for " + probe.logits.length + " labels");
    }
    for (int i = 0; i < logits.length; i++) {
      // Written so that NaN fails.
      if (!(Math.abs(logits[i] - probe.logits[i]) <= probe.tolerance)) {
        throw new InputException("the program gives " + Arrays.toString(logits) + " for its probe, its manifest says "
            + Arrays.toString(probe.logits) + ": it was not loaded");
      }
    }
  }

  /** Classifies {@code text} (with {@code second} for tasks of two texts, else null). Not for two threads at once. */
  public Prediction classify(String text, String second) throws InputException {
    if (isBlank(text)) throw new InputException("there is no text to classify");
    Encoding encoding = tokenizer.encode(limited(text), second == null ? null : limited(second), manifest.maxLength);
    long[] mask = new long[encoding.ids.length];
    Arrays.fill(mask, 1);
    long start = System.nanoTime();
    float[] logits = program.run(encoding.ids, mask);
    return Prediction.of(logits, manifest, encoding.truncated, System.nanoTime() - start);
  }

  private static String limited(String text) {
    return text.length() <= LONGEST_TEXT ? text : text.substring(0, LONGEST_TEXT);
  }

  private static boolean isBlank(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (!Unicode.WHITE.has(text.charAt(i))) return false;
    }
    return true;
  }

  @Override
  public void close() {
    program.close();
  }
}
