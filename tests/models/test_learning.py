"""Whether a training has learned anything, by tests that scikit-learn and scipy have too."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from spartanc.models.learning import LEVEL, _macro_f1, judge_learning
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.regression import REGRESSION

LABELS = ("ham", "spam")


def logits_for(answers, classes=2):
    return np.eye(classes)[np.asarray(answers)]


def test_always_one_class_is_no_learning_however_accurate_it_is():
    truth = [0] * 950 + [1] * 50
    judged = judge_learning(CLASSIFICATION, logits_for([0] * 1000), truth, LABELS)
    assert not judged.learned
    assert judged.p_values == {"accuracy": pytest.approx(0.5, abs=0.1), "macro_f1": 1.0}
    assert "no better than always `ham`: accuracy 0.9500, 0.9500 by always `ham`; answers: `ham` 100.0%" in judged.line


def test_a_rare_class_that_is_found_is_learning_though_accuracy_is_the_majoritys():
    truth = [0] * 950 + [1] * 50
    answers = [0] * 920 + [1] * 30 + [1] * 30 + [0] * 20
    judged = judge_learning(CLASSIFICATION, logits_for(answers), truth, LABELS)
    assert judged.p_values["accuracy"] > LEVEL >= judged.p_values["macro_f1"]
    assert judged.learned


def test_the_best_of_many_epochs_has_to_be_better():
    """58 right of 100 in two equal classes: p is 0.067 by one test, and of no weight among several."""
    truth = [0, 1] * 50
    answers = [1 - each if index < 37 else each for index, each in enumerate(truth)]
    assert judge_learning(CLASSIFICATION, logits_for(answers), truth, LABELS).learned
    assert not judge_learning(CLASSIFICATION, logits_for(answers), truth, LABELS, epochs=20).learned


def test_chance_is_called_learning_as_often_as_stated():
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 3, 60)
    drawn = (generator.integers(0, 3, 60) for _ in range(200))
    learned = sum(judge_learning(CLASSIFICATION, logits_for(each, 3), truth, "abc").learned for each in drawn)
    assert learned <= 10  # two tests at 0.01 each: 4 are expected, 11 or more in 0.3% of such draws


def test_macro_f1_is_scikit_learns():
    generator = np.random.default_rng(2)
    for _ in range(20):
        truth, given = generator.integers(0, 4, (2, 30))
        expected = f1_score(truth, given, average="macro", zero_division=0)
        assert _macro_f1(truth, given, 6) == pytest.approx(expected)


def test_numbers_need_a_positive_r2_and_a_correlation_that_is_not_chance():
    generator = np.random.default_rng(3)
    truth = generator.normal(size=100)
    near = judge_learning(REGRESSION, (truth + generator.normal(size=100))[:, None], truth, ())
    flat = judge_learning(REGRESSION, np.full((100, 1), truth.mean()), truth, ())
    high = judge_learning(REGRESSION, (truth + 5)[:, None], truth, ())
    noise = judge_learning(REGRESSION, (0.01 * generator.normal(size=100) + truth.mean())[:, None], truth, ())
    assert [each.learned for each in (near, flat, high, noise)] == [True, False, False, False]
    assert "answers deviate by 0 from their mean" in flat.line
