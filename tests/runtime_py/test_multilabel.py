"""Several labels a text: what is decided by thresholds, how these are chosen, and what the figures mean."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.task_types.catalogue import task_type_of
from spartanc.runtime_py.task_types.decision import decide_task
from spartanc.runtime_py.task_types.multilabel import MULTILABEL, PRIOR

LABELS = ("a", "b", "c")
ROWS = [Example("1", label=("a", "b")), Example("2", label=()), Example("3", label=("a",)), Example("4", label="c")]


def logit(probability):
    return np.log(probability / (1 - np.asarray(probability)))


def drawn(rows=400, labels=5, seed=0):
    """Logits that say something of which labels apply, rare ones too."""
    generator = np.random.default_rng(seed)
    truth = generator.random((rows, labels)) < np.geomspace(0.5, 0.02, labels)
    return np.where(truth, 0.5, -2.0) + generator.normal(size=truth.shape), truth.astype(float)


def test_each_label_is_given_above_its_own_threshold():
    task = MULTILABEL.with_thresholds([0.5, 0.2, 0.9], LABELS)
    found = task.answer(logit([0.6, 0.3, 0.8]).astype(np.float32), LABELS)
    assert found["label"] is None and found["labels"] == ["a", "b"]
    assert found["scores"] == pytest.approx({"a": 0.6, "b": 0.3, "c": 0.8})
    assert task.answer(logit([0.4, 0.1, 0.1]).astype(np.float32), LABELS)["labels"] == []
    assert task.decide(logit([[0.6, 0.3, 0.8]])).tolist() == [[True, True, False]]
    assert MULTILABEL.decide(np.array([[0.0, 1e-6, -800.0]])).tolist() == [[False, True, False]]


def test_targets_are_a_one_or_zero_for_each_label_and_one_label_is_a_list_of_one():
    assert MULTILABEL.targets(ROWS, LABELS) == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]]
    with pytest.raises(UsageError, match=r"`f` line 7: label `x` is not one of the model's"):
        MULTILABEL.targets([Example("t", label=("a", "x"), line=7)], LABELS, "f")
    with pytest.raises(UsageError, match="no `label`"):
        MULTILABEL.targets([Example("t")], LABELS)


def test_labels_and_thresholds_that_no_model_can_have_are_named():
    assert MULTILABEL.wrong_labels(["only"]) is None and MULTILABEL.outputs(["only"]) == 1
    assert "one label at least" in MULTILABEL.wrong_labels([])
    assert "the same" in MULTILABEL.wrong_labels(["a", "a"])
    for thresholds, said in (([0.5], "1 thresholds for 2"), ([0.5, 0.0], "`0.0`"), ([1.0, 0.5], "`1.0`")):
        with pytest.raises(UsageError, match=said):
            task_type_of("multilabel", ["a", "b"], thresholds)
    with pytest.raises(UsageError, match="a classification has no thresholds"):
        task_type_of("classification", ["a", "b"], [0.5, 0.5])
    assert task_type_of("multilabel", ["a", "b"], [0.1, 0.9]).thresholds == (0.1, 0.9)


def test_measures_are_scikit_learns_over_the_labels_that_occur():
    logits, truth = drawn()
    task = MULTILABEL.with_thresholds([0.3] * 5, "vwxyz")
    given = 1 / (1 + np.exp(-logits)) > 0.3
    found = task.measures(logits, truth)
    assert found["macro_f1"] == pytest.approx(f1_score(truth, given, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(truth, given, average="micro"))
    assert found["exact_match"] == np.mean([tuple(a) == tuple(b) for a, b in zip(given, truth, strict=True)])
    columns = precision_recall_fscore_support(truth, given, zero_division=0)
    details = task.details(logits, truth, "vwxyz")
    for index, each in enumerate(details["classes"].values()):
        expected = [column[index] for column in columns]
        assert [each[name] for name in ("precision", "recall", "f1", "rows")] == pytest.approx(expected)
        assert each["given"] == given[:, index].sum() and each["threshold"] == 0.3
    assert details["unlabelled"] == {"rows": int((truth.sum(1) == 0).sum()), "given": int((given.sum(1) == 0).sum())}
    never = np.concatenate([truth, np.zeros((len(truth), 1))], 1)
    more = np.concatenate([logits, np.full((len(truth), 1), -9.0)], 1)
    assert MULTILABEL.with_thresholds([0.3] * 6, "vwxyzq").measures(more, never)["macro_f1"] == found["macro_f1"]


def test_what_has_no_meaning_is_none():
    assert set(MULTILABEL.measures(np.zeros((0, 3)), []).values()) == {None}
    nothing = MULTILABEL.measures(np.full((4, 3), -9.0), np.zeros((4, 3)))
    assert nothing == {"macro_f1": None, "micro_f1": None, "exact_match": 1.0}


def test_fitted_thresholds_are_near_the_best_of_every_label_and_beat_a_half():
    logits, truth = drawn(4000)
    fitted = MULTILABEL.fitted(logits, truth)
    assert len(fitted.thresholds) == 5 and all(0 < each < 1 for each in fitted.thresholds)
    assert fitted.score(logits, truth) > MULTILABEL.score(logits, truth) + 0.03
    for index, threshold in enumerate(fitted.thresholds):
        scores = 1 / (1 + np.exp(-logits[:, index]))
        tried = [f1_score(truth[:, index], scores > each) for each in np.quantile(scores, np.linspace(0, 0.995, 60))]
        assert f1_score(truth[:, index], scores > threshold) > max(tried) - 0.02
    others = drawn(4000, seed=1)
    assert fitted.score(*others) > MULTILABEL.score(*others) + 0.03


def test_a_label_of_few_rows_leans_on_the_others():
    """One row has it, by luck at a logit of -6: that alone would give the label to nearly all."""
    logits, truth = drawn()
    logits[:, 4], truth[:, 4] = np.linspace(-6, 1, len(logits)), 0
    truth[0, 4] = 1
    alone = 1 / (1 + np.exp(6))
    assert MULTILABEL.fitted(logits, truth).thresholds[4] > 10 * alone
    truth[0, 4] = 0
    assert 0.05 < MULTILABEL.fitted(logits, truth).thresholds[4] < 0.95  # no row at all: as the mean label
    assert PRIOR < 10


def test_strata_are_by_the_rarest_label_and_members_by_all():
    strata = MULTILABEL.strata(ROWS, LABELS)
    assert [strata.names[index] for index in strata.indices] == ["b", "no label", "a", "c"]
    members = MULTILABEL.members(ROWS, LABELS)
    assert members.names == ("a", "b", "c", "no label")
    assert members.belongs_NG.astype(int).tolist() == [[1, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]


def test_losses_and_weights_are_those_of_binary_cross_entropy():
    logits, truth = drawn(50, 3)
    p = 1 / (1 + np.exp(-logits))
    expected = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).sum(1)
    assert MULTILABEL.losses(logits, truth) == pytest.approx(expected)
    weights = MULTILABEL.class_weights([[1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 0]], 3)
    assert weights == pytest.approx([1 / 3, 3, 3])


def test_lists_ask_for_several_labels_and_one_line_says_so():
    decision = decide_task(ROWS, "f")
    assert decision.task_type is MULTILABEL and decision.labels == LABELS
    assert decision.why.startswith("multilabel: 3 classes") and "1.00 a row, 1 rows with none" in decision.why
    assert decide_task([Example("t", label=name) for name in "ab"], "f", "multilabel").task_type is MULTILABEL
    one_each = decide_task([Example("t", label=(name,)) for name in "ab"], "f").why
    assert "--problem classification" in one_each and "--label-separator" in one_each
    for problem in ("classification", "regression"):
        with pytest.raises(UsageError, match="`f` line 2: a list of labels"):
            decide_task([Example("t", label="1"), Example("t", label=("1", "2"), line=2)], "f", problem)


@pytest.mark.parametrize(
    ("labels", "said"), [([(), ()], "no row of `f` has a label"), ([("a",), ("a",)], "the same labels")]
)
def test_labels_that_teach_nothing_are_refused(labels, said):
    with pytest.raises(UsageError, match=said):
        decide_task([Example("t", label=each) for each in labels], "f")
