package org.spartanc.core;

import java.util.Arrays;

/** A proved program with its tokenizer and labels: text in, labels with their scores out. */
public final class Classifier implements AutoCloseable {
  /** Characters of one text; what stands after them could not reach the program anyway. */
  private static final int LONGEST_TEXT = 1 << 20;

  private final int maxLength;
  private final int minLength;
  private final int vocabularySize;
  private final Tokenizer tokenizer;
  private final Program program;
  private Task task;

  /** Takes over {@code program}, with {@code task} as its first; closes it where either is refused. */
  public Classifier(Bundle bundle, Program program, Task task) throws InputException {
    this.maxLength = bundle.manifest.maxLength;
    this.minLength = bundle.manifest.minLength;
    this.vocabularySize = bundle.manifest.vocabularySize;
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
    checkIds(wanted.probe.ids);
    wanted.probe.check(run(wanted.probe.ids, wanted.probe.mask, wanted));
    task = wanted;
  }

  /**
   * Classifies {@code text}, with {@code second} for tasks of two texts, else null; a blank second text is none. Not for
   * two threads at once.
   */
  public Prediction classify(String text, String second) throws InputException {
    if (text == null || isBlank(text)) throw new InputException("there is no text to classify");
    boolean two = second != null && !isBlank(second);
    if (task.pairs != null && task.pairs != two) {
      throw new InputException(two ? "there is a second text, and the task takes one"
          : "there is no second text, and the task takes two");
    }
    Encoding encoding = tokenizer.encode(limited(text), two ? limited(second) : null, maxLength);
    if (encoding.empty) throw new InputException("there is no text to classify: nothing of it became a token");
    checkIds(encoding.ids);
    long[] mask = new long[encoding.ids.length];
    Arrays.fill(mask, 1);
    long start = System.nanoTime();
    float[] logits = run(encoding.ids, mask, task);
    return Prediction.of(logits, task, encoding.truncated, System.nanoTime() - start);
  }

  /** An input that is shorter than the program takes is padded with ids 0 whose mask is 0. */
  private float[] run(long[] ids, long[] mask, Task task) throws InputException {
    int length = Math.max(ids.length, minLength);
    return program.run(Arrays.copyOf(ids, length), Arrays.copyOf(mask, length), task.tensors);
  }

  /** An id that the program has no row for would be read from outside its table. */
  private void checkIds(long[] ids) throws InputException {
    for (int i = 0; vocabularySize > 0 && i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabularySize) {
        throw new InputException("id " + ids[i] + " at position " + (i + 1) + " is outside of the vocabulary of "
            + vocabularySize + " tokens");
      }
    }
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
