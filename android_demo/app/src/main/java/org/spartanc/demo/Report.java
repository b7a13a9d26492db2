package org.spartanc.demo;

import java.util.Locale;
import org.spartanc.core.Latency;
import org.spartanc.core.Prediction;

/** What the screen says of a result. */
final class Report {
  private static final int SHOWN = 5;

  private Report() {}

  static String of(Prediction prediction) {
    StringBuilder text = new StringBuilder();
    if (prediction.labels != null) {
      text.append(prediction.labels.isEmpty() ? "no label" : String.join(", ", prediction.labels)).append("\n\n");
    }
    if (prediction.scores.isEmpty()) text.append(String.format(Locale.ROOT, "%.4f\n", prediction.value));
    for (int i = 0; i < Math.min(SHOWN, prediction.scores.size()); i++) {
      Prediction.Score score = prediction.scores.get(i);
      text.append(String.format(Locale.ROOT, "%s  %.4f\n", score.label, score.probability));
    }
    if (prediction.scores.size() > SHOWN) {
      text.append("and ").append(prediction.scores.size() - SHOWN).append(" more labels\n");
    }
    if (prediction.truncated) text.append("The text was longer than the model takes: its end was left out.\n");
    return text.toString().trim();
  }

  static String figures(Latency latency, long kilobytes) {
    if (latency.count() == 0) return String.format(Locale.ROOT, "memory %.1f MB", kilobytes / 1024.0);
    return String.format(
        Locale.ROOT,
        "last run %.1f ms, median of %d since the start %.1f ms\nmemory %.1f MB",
        latency.last(), latency.count(), latency.median(), kilobytes / 1024.0);
  }
}
