package org.spartanc.core;

import java.util.HashSet;
import java.util.List;

/**
 * The words that manifests and task files are written in, and what follows from a task type. A word is added here and in
 * docs/formats; tests/golden/bundles then wants cases of it.
 */
final class Words {
  /** In place of a task type: each task of a fleet has its own. */
  static final String FLEET = "fleet";
  static final String[] TASK_TYPES = {"classification", "regression"};
  static final String[] TASK_TYPES_AND_FLEET = {"classification", "regression", FLEET};
  static final String[] QUANTIZATIONS = {"none", "int8", "int4", "int4-memories"};
  static final String[] LOWERINGS = {"fused", "portable"};
  static final String[] PROGRAM_FORMATS = {"executorch", "torchscript"};
  static final String[] LAYER_NORMS = {"none", "post"};

  private Words() {}

  /** Names of the classes: distinct, at least two for a classification, none otherwise. */
  static List<String> labels(Fields fields, String taskType) throws InputException {
    List<String> labels = fields.texts("labels");
    boolean isClassification = taskType.equals("classification");
    if (new HashSet<>(labels).size() != labels.size() || (isClassification ? labels.size() < 2 : !labels.isEmpty())) {
      throw new InputException(fields.where() + " has " + labels.size() + " `labels` for " + taskType + ", or one twice");
    }
    return labels;
  }
}
