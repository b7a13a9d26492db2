package org.spartanc.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;

/** Names of a task's classes in the order of its logits; where a text may have several, each with its threshold. */
final class Labels {
  /** Distinct: at least two for a classification, at least one for a multilabel task, none otherwise. */
  final List<String> names;
  /** Of every name, the probability above which a text has it; empty where the task type has none. */
  final List<Double> thresholds;

  private Labels(String where, String taskType, List<String> names, List<Double> thresholds) throws InputException {
    int least = taskType.equals(Words.CLASSIFICATION) ? 2 : Words.hasThresholds(taskType) ? 1 : 0;
    boolean fits = least == 0 ? names.isEmpty() : names.size() >= least;
    if (!fits || new HashSet<>(names).size() != names.size()) {
      throw new InputException(where + " has " + names.size() + " `labels` for " + taskType + ", or one twice");
    }
    boolean good = thresholds.size() == (Words.hasThresholds(taskType) ? names.size() : 0);
    for (double each : thresholds) good &= each > 0 && each < 1;
    if (!good) throw new InputException(where + " has no valid `thresholds` for its " + names.size() + " `labels`");
    this.names = Collections.unmodifiableList(names);
    this.thresholds = Collections.unmodifiableList(thresholds);
  }

  /** As a manifest has them: a list of texts, and a list of numbers beside it. */
  static Labels ofManifest(Fields fields, String taskType) throws InputException {
    List<Double> thresholds = new ArrayList<>();
    if (fields.has("thresholds")) {
      for (Object each : fields.list("thresholds")) thresholds.add(Fields.number(each, fields.where() + ": `thresholds`"));
      if (thresholds.isEmpty()) throw new InputException(fields.where() + " has no `thresholds` in their list");
    }
    return new Labels(fields.where(), taskType, fields.texts("labels"), thresholds);
  }

  /** As a task's file has them: a list of texts, or of pairs of a text and a number. */
  static Labels ofTask(Fields fields, String taskType) throws InputException {
    List<Double> thresholds = new ArrayList<>();
    if (!Words.hasThresholds(taskType)) return new Labels(fields.where(), taskType, fields.texts("labels"), thresholds);
    String where = fields.where() + ": `labels`";
    List<String> names = new ArrayList<>();
    for (Object each : fields.list("labels")) {
      List<?> pair = each instanceof List ? (List<?>) each : Collections.emptyList();
      if (pair.size() != 2) throw new InputException(where + " is not a list of pairs of a text and a threshold");
      names.add(Fields.plainText(pair.get(0), where));
      thresholds.add(Fields.number(pair.get(1), where));
    }
    return new Labels(fields.where(), taskType, names, thresholds);
  }

  /** How many logits a program gives for them. */
  int outputs() {
    return Math.max(1, names.size());
  }
}
