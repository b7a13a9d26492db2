package org.spartanc.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** What a text was taken for. */
public final class Prediction {
  /** A label and its probability. */
  public static final class Score {
    public final String label;
    public final double probability;

    Score(String label, double probability) {
      this.label = label;
      this.probability = probability;
    }
  }

  /** The likeliest first; empty for a regression. */
  public final List<Score> scores;
  /** Of a task whose texts may have several labels, those above their thresholds, or none; null for other tasks. */
  public final List<String> labels;
  /** The number that a regression gives; NaN for other tasks. */
  public final double value;
  public final boolean truncated;
  public final long nanoseconds;

  private Prediction(List<Score> scores, List<String> labels, double value, boolean truncated, long nanoseconds) {
    this.scores = Collections.unmodifiableList(scores);
    this.labels = labels == null ? null : Collections.unmodifiableList(labels);
    this.value = value;
    this.truncated = truncated;
    this.nanoseconds = nanoseconds;
  }

  static Prediction of(float[] logits, Task task, boolean truncated, long nanoseconds) throws InputException {
    int expected = task.isRegression ? 1 : task.labels.size();
    if (logits.length != expected) {
      throw new InputException("the program gave " + logits.length + " logits for " + expected + " labels");
    }
    for (float logit : logits) {
      if (Float.isNaN(logit) || Float.isInfinite(logit)) throw new InputException("the program gave no finite logits");
    }
    List<Score> scores = new ArrayList<>();
    if (task.isRegression) return new Prediction(scores, null, logits[0], truncated, nanoseconds);
    boolean several = !task.thresholds.isEmpty();
    double[] probabilities = several ? sigmoids(logits) : softmax(logits);
    List<String> labels = several ? new ArrayList<String>() : null;
    for (int i = 0; several && i < logits.length; i++) {
      if (probabilities[i] > task.thresholds.get(i)) labels.add(task.labels.get(i));
    }
    for (int i = 0; i < logits.length; i++) scores.add(new Score(task.labels.get(i), probabilities[i]));
    // A stable sort: of equal scores the first label stands first.
    Collections.sort(scores, (a, b) -> Double.compare(b.probability, a.probability));
    return new Prediction(scores, labels, Double.NaN, truncated, nanoseconds);
  }

  static double[] sigmoids(float[] logits) {
    double[] result = new double[logits.length];
    for (int i = 0; i < result.length; i++) result[i] = 1 / (1 + Math.exp(-logits[i]));
    return result;
  }

  static double[] softmax(float[] logits) {
    double largest = Double.NEGATIVE_INFINITY;
    for (float logit : logits) largest = Math.max(largest, logit);
    double[] result = new double[logits.length];
    double sum = 0;
    for (int i = 0; i < result.length; i++) sum += result[i] = Math.exp(logits[i] - largest);
    for (int i = 0; i < result.length; i++) result[i] /= sum;
    return result;
  }
}
