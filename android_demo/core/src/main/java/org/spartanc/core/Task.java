package org.spartanc.core;

import java.util.Collections;
import java.util.List;

/** What a program is asked: its labels, its probe, and with a shared backbone the tensors that make it this task. */
public final class Task {
  public final List<String> labels;
  public final boolean isRegression;
  /** Of every label the probability above which a text has it; empty where a text has one label, or a number. */
  public final List<Double> thresholds;
  /** Whether it answers two texts; null where that is not known, as of bundles made before it was kept. */
  public final Boolean pairs;
  /** In the order of the program's inputs; empty for a program with one task. */
  public final List<TaskTensor> tensors;
  final Probe probe;

  Task(Labels labels, boolean isRegression, Boolean pairs, List<TaskTensor> tensors, Probe probe) {
    this.labels = labels.names;
    this.thresholds = labels.thresholds;
    this.isRegression = isRegression;
    this.pairs = pairs;
    this.tensors = Collections.unmodifiableList(tensors);
    this.probe = probe;
  }
}
