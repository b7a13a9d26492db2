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
  /** The number that a regression gives; NaN for a classification. */
  public final double value;
  public final boolean truncated;
  public final long nanoseconds;

  private Prediction(List<Score> scores, double value, boolean truncated, long nanoseconds) {
    this.scores = Collections.unmodifiableList(scores);
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
    if (task.isRegression) return new Prediction(scores, logits[0], truncated, nanoseconds);
    double[] probabilities = softmax(logits);
    for (int i = 0; i < logits.length; i++) scores.add(new Score(task.labels.get(i), probabilities[i]));
    // A stable sort: of equal scores the first label stands first.
    Collections.sort(scores, (a, b) -> Double.compare(b.probability, a.probability));
    return new Prediction(scores, Double.NaN, truncated, nanoseconds);
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
