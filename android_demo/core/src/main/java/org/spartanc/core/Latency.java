package org.spartanc.core;

import java.util.Arrays;

/** The time of the last run and the median of all since the start; of very many, of the last {@link #KEPT}. */
public final class Latency {
  static final int KEPT = 4096;

  private final long[] times = new long[KEPT];
  private long count;

  public synchronized void add(long nanoseconds) {
    times[(int) (count++ % KEPT)] = nanoseconds;
  }

  public synchronized long count() {
    return count;
  }

  /** Milliseconds, 0 before the first run. */
  public synchronized double last() {
    return count == 0 ? 0 : times[(int) ((count - 1) % KEPT)] / 1e6;
  }

  /** Milliseconds, 0 before the first run. */
  public synchronized double median() {
    int kept = (int) Math.min(count, KEPT);
    if (kept == 0) return 0;
    long[] sorted = Arrays.copyOf(times, kept);
    Arrays.sort(sorted);
    return (sorted[(kept - 1) / 2] + sorted[kept / 2]) / 2e6;
  }
}
