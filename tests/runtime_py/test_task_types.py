"""Each task type: classes by the largest logit, numbers as they stand, and one score for training and judgement."""

import numpy as np
import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.task_types.catalogue import TASK_TYPES, find_task_type
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.regression import REGRESSION

CLASSES = ("bad", "good", "so-so")
LABELLED = [Example("a", label="good"), Example("b", label="bad"), Example("c", label="good")]
NUMBERED = [Example(str(number), label=number) for number in ("1.0", "2", "3", "4", "5", "6")]


def test_names_are_those_of_files_and_no_other():
    assert list(TASK_TYPES) == ["classification", "regression", "multilabel"]
    assert [find_task_type(name).name for name in TASK_TYPES] == list(TASK_TYPES)
    with pytest.raises(UsageError, match="`ranking` is not one of classification, regression, multilabel"):
        find_task_type("ranking")


def test_a_classification_gives_the_largest_logit_and_its_probabilities():
    found = CLASSIFICATION.answer(np.array([0.0, np.log(2), 0.0], np.float32), CLASSES)
    assert found["label"] == "good"
    assert found["scores"] == pytest.approx({"bad": 0.25, "good": 0.5, "so-so": 0.25})


def test_equal_logits_go_to_the_first_class():
    decided = CLASSIFICATION.decide(np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]]))
    assert decided.tolist() == [[True, False, False], [False, True, False]]


def test_a_regression_gives_its_number_and_no_label():
    assert REGRESSION.answer(np.array([74_000.5], np.float32), ()) == {"label": None, "score": 74_000.5}
    assert REGRESSION.decide(np.ones((3, 1))) is None


def test_targets_are_positions_or_numbers():
    assert CLASSIFICATION.targets(LABELLED, CLASSES) == [1, 0, 1]
    assert REGRESSION.targets(NUMBERED, ()) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(UsageError, match="`fine` is not one of the model's"):
        CLASSIFICATION.targets([Example("a", label="fine")], CLASSES)


def test_accuracy_is_the_share_of_right_rows():
    logits = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1.0]])
    assert CLASSIFICATION.score(logits, [1, 0, 2]) == pytest.approx(2 / 3)
    assert CLASSIFICATION.score(np.zeros((0, 3)), []) is None


def test_the_best_constant_answer_is_the_commonest_class_and_a_number_has_none():
    assert CLASSIFICATION.constant_answer([1, 0, 1, 2], CLASSES) == ("good", 0.5)
    assert REGRESSION.constant_answer([1.0, 1.0], ()) is None


def test_epochs_are_compared_by_what_the_commonest_class_cannot_hide():
    for counts, expected in (([75, 25], "accuracy"), ([76, 24], "macro_f1"), ([56, 20, 20], "accuracy"),
                             ([70, 20, 10], "macro_f1")):  # fmt: skip
        targets = [index for index, count in enumerate(counts) for _ in range(count)]
        assert CLASSIFICATION.metric_of_epochs(targets) == expected
    assert REGRESSION.metric_of_epochs([1.0, 2.0]) == "r2"


def test_correlation_is_pearsons_and_none_where_nothing_varies():
    predicted, truth = np.array([1.0, 2, 3, 5]), np.array([2.0, 1, 4, 8])
    expected = np.mean((predicted - predicted.mean()) * (truth - truth.mean())) / (predicted.std() * truth.std())
    assert REGRESSION.score(predicted[:, None], truth) == pytest.approx(expected)
    assert REGRESSION.score((1e-5 * predicted + 3)[:, None], truth) == pytest.approx(expected)
    for constant in ((np.full((4, 1), 74_000.1), truth), (predicted[:, None], np.ones(4)), (np.ones((1, 1)), [1.0])):
        assert REGRESSION.score(*constant) is None


def test_strata_are_classes_or_thirds_and_only_those_with_examples():
    classes = CLASSIFICATION.strata(LABELLED, CLASSES)
    assert classes.names == ("bad", "good")
    assert classes.indices.tolist() == [1, 0, 1]
    thirds = REGRESSION.strata(NUMBERED, ())
    assert thirds.indices.tolist() == [0, 0, 1, 1, 2, 2]
    assert thirds.names == ("below 2.67", "2.67 to 4.33", "above 4.33")


def test_labels_that_no_model_can_have_are_named():
    assert "two classes at least" in CLASSIFICATION.wrong_labels(["a"])
    assert "same label" in CLASSIFICATION.wrong_labels(["a", "b", "a"])
    assert "no classes" in REGRESSION.wrong_labels(["a"])
    assert CLASSIFICATION.wrong_labels(CLASSES) is None and REGRESSION.wrong_labels([]) is None
    assert CLASSIFICATION.outputs(CLASSES) == 3 and REGRESSION.outputs([]) == 1
