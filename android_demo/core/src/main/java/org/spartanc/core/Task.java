package org.spartanc.core;

import java.util.Collections;
import java.util.List;

/** What a program is asked: its labels, its probe, and with a shared backbone the tensors that make it this task. */
public final class Task {
  public final List<String> labels;
  public final boolean isRegression;
  /** In the order of the program's inputs; empty for a program with one task. */
  public final List<TaskTensor> tensors;
  final Probe probe;

  Task(List<String> labels, boolean isRegression, List<TaskTensor> tensors, Probe probe) {
    this.labels = Collections.unmodifiableList(labels);
    this.isRegression = isRegression;
    this.tensors = Collections.unmodifiableList(tensors);
    this.probe = probe;
  }
}
