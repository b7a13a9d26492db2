package org.spartanc.core;

import java.util.Arrays;

/** A proved program with its tokenizer and labels: text in, labels with their scores out. */
public final class Classifier implements AutoCloseable {
  /** Characters of one text; what stands after them could not reach the program anyway. */
  private static final int LONGEST_TEXT = 1 << 20;

  private final int maxLength;
  private final Tokenizer tokenizer;
  private final Program program;
  private Task task;

  /** Takes over {@code program}, with {@code task} as its first; closes it where either is refused. */
  public Classifier(Bundle bundle, Program program, Task task) throws InputException {
    this.maxLength = bundle.manifest.maxLength;
    this.program = program;
    try {
      tokenizer = bundle.tokenizer();
      use(task);
    } catch (InputException | RuntimeException e) {
      program.close();
      throw e;
    }
  }

  /** Runs the task's probe, and if the program answers it as it should, answers this task from now on. */
  public void use(Task wanted) throws InputException {
    wanted.probe.check(program.run(wanted.probe.ids, wanted.probe.mask, wanted.tensors));
    task = wanted;
  }

  /** Classifies {@code text} (with {@code second} for tasks of two texts, else null). Not for two threads at once. */
  public Prediction classify(String text, String second) throws InputException {
    if (isBlank(text)) throw new InputException("there is no text to classify");
    Encoding encoding = tokenizer.encode(limited(text), second == null ? null : limited(second), maxLength);
    long[] mask = new long[encoding.ids.length];
    Arrays.fill(mask, 1);
    long start = System.nanoTime();
    float[] logits = program.run(encoding.ids, mask, task.tensors);
    return Prediction.of(logits, task, encoding.truncated, System.nanoTime() - start);
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
