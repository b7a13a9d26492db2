package org.spartanc.core;

/**
 * The words that manifests and task files are written in, and what follows from a task type. A word is added here and in
 * docs/formats; tests/golden/bundles then wants cases of it.
 */
final class Words {
  /** In place of a task type: each task of a fleet has its own. */
  static final String FLEET = "fleet";
  static final String CLASSIFICATION = "classification";
  static final String REGRESSION = "regression";
  static final String MULTILABEL = "multilabel";
  static final String[] TASK_TYPES = {CLASSIFICATION, REGRESSION, MULTILABEL};
  static final String[] TASK_TYPES_AND_FLEET = {CLASSIFICATION, REGRESSION, MULTILABEL, FLEET};
  static final String[] QUANTIZATIONS = {"none", "int8", "int4", "int4-memories"};
  static final String[] LOWERINGS = {"fused", "portable"};
  static final String[] PROGRAM_FORMATS = {"executorch", "torchscript"};
  static final String[] LAYER_NORMS = {"none", "post"};

  private Words() {}

  /** Whether each class is given by a threshold of its own, so that a text may have several. */
  static boolean hasThresholds(String taskType) {
    return taskType.equals(MULTILABEL);
  }
}
