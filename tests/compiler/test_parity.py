"""Gates fit the task: numbers by their own scale and correlation, classes one by one, rows that are no texts apart."""

from dataclasses import replace

import numpy as np
import pytest

from spartanc.base.schemes.int8 import INT8
from spartanc.base.schemes.none import NONE
from spartanc.compiler.parity import Reference, compare
from spartanc.compiler.proof import (
    DEFAULT_GATES,
    missed,
    parity_of_all,
    require,
    require_same_elsewhere,
    thin_line,
    tolerance,
)
from spartanc.errors import GateError
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.task_types.catalogue import find_task_type
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.regression import REGRESSION

RANDOM = np.random.default_rng(5)


def numbers(scores, targets=None, judged=None):
    """A regression's reference: one score a row, with labels where `targets` are given."""
    examples = () if targets is None else tuple(Example("x", label=f"{target:.12f}") for target in targets)
    return Reference(np.asarray(scores, float)[:, None], REGRESSION, (), examples, judged, real=True)


def classes(winners, names=("a", "b")):
    """A classifier's logits: 4 for the winner, 0 for the others."""
    return 4.0 * np.eye(len(names))[winners]


def program(logits):
    return list(np.asarray(logits, np.float64))


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-5, 0.0), (20_000.0, 74_000.0), (1e6, 0.0)])
def test_fp32_numbers_are_held_to_their_own_scale(scale, offset):
    scores = offset + scale * RANDOM.standard_normal(50)
    reference = numbers(scores)
    allowed = 1e-4 * scores.std() + 1e-6 * np.abs(scores).max()
    for share, passed in ((0.9, True), (1.1, False)):
        moved = scores.copy()
        moved[7] += share * allowed
        wrong = missed(reference.compare(program(moved[:, None])), DEFAULT_GATES["none"])
        assert (not wrong) is passed, wrong


def test_the_scale_of_numbers_is_that_of_texts_not_of_random_ids():
    texts, sweep = np.linspace(0, 1e-3, 20), np.array([500.0, -500.0])
    reference = numbers([*texts, *sweep], judged=20)
    assert reference.compare(program(reference.logits_NC)).numbers.std == pytest.approx(texts.std())


def test_a_quantised_regression_keeps_its_correlation_or_is_refused():
    truth = RANDOM.standard_normal(400)
    eager = truth + 0.75 * RANDOM.standard_normal(400)  # correlation with the labels of about 0.8
    reference = numbers(eager, truth)
    near, far = (eager + size * eager.std() * RANDOM.standard_normal(400) for size in (0.01, 1.5))
    assert missed(reference.compare(program(near[:, None])), DEFAULT_GATES["int8"]) == []
    parity = reference.compare(program(far[:, None]))
    assert parity.numbers.correlation_eager == pytest.approx(np.corrcoef(eager, truth)[0, 1])
    assert parity.numbers.correlation_device == pytest.approx(np.corrcoef(far, truth)[0, 1])
    with pytest.raises(GateError, match=r"correlation with eager 0\.\d+ .*correlation with the labels 0\.\d+, eager's"):
        require(parity, DEFAULT_GATES["int8"], "local")
    assert parity.label_agreement is None and "labels agree" not in str(missed(parity, DEFAULT_GATES["int8"]))


def test_correlation_with_the_labels_is_judged_by_itself():
    """Noise that is small beside outliers, and large beside all the rest."""
    truth = np.r_[RANDOM.standard_normal(200), 1000.0]
    eager = truth.copy()
    eager[-1] = 100.0
    moved = eager + np.r_[0.2 * RANDOM.standard_normal(200), 0]
    parity = numbers(eager[:-1], truth[:-1]).compare(program(moved[:-1, None]))
    assert parity.numbers.lost == pytest.approx(1 - np.corrcoef(moved[:-1], truth[:-1])[0, 1])
    assert any("with the labels" in each for each in missed(parity, DEFAULT_GATES["int8"]))


def test_a_constant_program_has_no_correlation_and_is_refused():
    reference = numbers(np.linspace(0, 1, 40), np.linspace(0, 1, 40))
    wrong = missed(reference.compare(program(np.full((40, 1), 0.5))), DEFAULT_GATES["int8"])
    assert any("nothing varies" in each for each in wrong)
    assert any("correlation with the labels 0.0000" in each for each in wrong)


def test_figures_of_numbers_are_by_their_definitions():
    eager = np.array([1.0, 2, 3, 5])
    found = numbers(eager).compare(program([[1.1], [2.0], [2.8], [5.2]])).as_dict()
    assert found["label_agreement"] is None
    assert found["max_abs_diff"] == pytest.approx(0.2)
    assert found["max_diff_over_std"] == pytest.approx(0.2 / eager.std())
    assert found["r2"] == pytest.approx(1 - (0.01 + 0.04 + 0.04) / (4 * eager.var()))
    assert found["correlation"] == pytest.approx(np.corrcoef(eager, [1.1, 2.0, 2.8, 5.2])[0, 1])


def test_a_rare_class_that_flips_is_seen_and_refused():
    """990 of 1,000 texts agree, which passes as a whole; of one class every third does not."""
    winners = np.r_[np.zeros(970, int), np.ones(30, int)]
    moved = winners.copy()
    moved[-10:] = 0
    parity = Reference(classes(winners), CLASSIFICATION, ("common", "rare"), real=True).compare(program(classes(moved)))
    found = parity.as_dict()
    assert found["label_agreement"] == 0.99 and found["evidence"] == "enough"
    assert found["classes"]["rare"]["texts"] == 30
    assert found["classes"]["rare"]["label_agreement"] == pytest.approx(2 / 3)
    assert found["classes"]["common"]["label_agreement"] == 1
    assert missed(parity, DEFAULT_GATES["int8"]) == ["of 30 texts of class `rare` 10 get another label"]


def test_a_limit_on_differences_leaves_the_other_gates_as_they_are():
    """`--max-diff` is about logits: the class that flips is refused with it as without it."""
    winners = np.zeros(2000, int)
    winners[:15] = 1
    flipped = classes(winners)
    flipped[:15] = classes(np.zeros(15, int))
    parity = Reference(classes(winners), labels=("a", "b"), real=True).compare(program(flipped))
    gates = DEFAULT_GATES["int8"]
    of_labels = missed(parity, gates)
    assert "class `b`" in of_labels[0]
    assert missed(parity, replace(gates, max_abs_diff=5.0, diff_asked=True)) == of_labels
    assert len(missed(parity, replace(gates, max_abs_diff=1.0, diff_asked=True))) == 1 + len(of_labels)


def test_a_limit_on_differences_leaves_int4_its_accuracy_and_fp32_every_label():
    texts = tuple(Example("x", label="a") for _ in range(400))
    moved = classes(np.array([1] * 12 + [0] * 388))  # 97% agree, which int4 may; 3 points are lost, which it may not
    parity = Reference(classes(np.zeros(400, int)), labels=("a", "b"), examples=texts).compare(program(moved))
    for name, said in (("int4", "accuracy"), ("none", "labels agree")):
        gates = replace(DEFAULT_GATES[name], max_abs_diff=5.0, diff_asked=True)
        wrong = missed(parity, gates)
        assert len(wrong) == 1 and wrong[0].startswith(said), wrong


def test_what_is_not_judged_is_not_said_to_be_asked():
    parity = Reference(classes(np.zeros(4, int)), labels=("a", "b"), real=True).compare(program(classes([0] * 4)))
    gates = DEFAULT_GATES["int4"]
    assert gates.as_dict(parity)["accuracy_lost"] == 0.01
    assert "accuracy_lost" not in replace(gates, agreement_asked=True).as_dict(parity)


def test_thin_evidence_is_written_and_says_so(capsys):
    winners = np.arange(32) % 2
    moved = winners.copy()
    moved[0] = 1
    parity = Reference(classes(winners), real=True).compare(program(classes(moved)))
    require(parity, DEFAULT_GATES["int8"], "local")
    assert parity.as_dict()["evidence"] == "thin"
    assert parity.as_dict()["interval"] == pytest.approx([0.8378, 0.9992], abs=1e-4)
    assert "31 of 32 texts" in thin_line(parity) and "--data" in thin_line(parity)
    assert "--data" in "".join(capsys.readouterr())


def test_an_fp32_classifier_loses_no_label_and_moves_by_rounding_alone():
    winners = np.arange(1000) % 2
    reference = Reference(classes(winners), real=True)
    flipped = classes(winners)
    flipped[3] = [1.00001, 1.0] if winners[3] else [1.0, 1.00001]
    assert any("0.9990" in each for each in missed(reference.compare(program(flipped)), DEFAULT_GATES["none"]))
    for moved, passed in ((0.9e-4, True), (1.1e-4, False)):
        assert (not missed(reference.compare(program(classes(winners) + moved)), DEFAULT_GATES["none"])) is passed


@pytest.mark.parametrize("quantization", ["none", "int8"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_refused(quantization, value):
    for reference in (Reference(classes(np.arange(40) % 2), real=True), numbers(np.arange(40.0))):
        got = reference.logits_NC.copy()
        got[5, 0] = value
        assert missed(reference.compare(program(got)), DEFAULT_GATES[quantization]) == ["an output is not finite"]


def test_a_quantised_program_that_breaks_at_one_length_is_refused():
    """The texts agree, one row of random ids does not: what is right on texts alone is not right."""
    logits = classes(np.arange(400) % 2)
    reference = Reference(logits, judged=390, real=True)
    for off, passed in ((0.2, True), (3.0, False)):
        got = logits.copy()
        got[395] += off
        wrong = missed(reference.compare(program(got)), DEFAULT_GATES["int8"])
        assert (not wrong) is passed
    assert "random ids" in wrong[0]


def test_four_bits_may_flip_a_label_in_twenty():
    winners = np.arange(1000) % 2
    for flipped, passed in ((50, True), (51, False)):
        got = winners.copy()
        got[:flipped] = 1 - got[:flipped]
        parity = Reference(classes(winners), real=True).compare(program(classes(got)), DEFAULT_GATES["int4"].thin_below)
        assert (not missed(parity, DEFAULT_GATES["int4"])) is passed
        assert missed(parity, DEFAULT_GATES["int4-memories"])
        assert parity.as_dict()["evidence"] == "enough"


@pytest.mark.parametrize(
    ("worse", "better", "passed"), [(10, 0, True), (11, 0, False), (30, 20, True), (31, 20, False)]
)
def test_four_bits_may_lose_a_point_of_accuracy(worse, better, passed):
    """Eager is wrong on the last 100 texts; some of the first lose their label, some of the last find it."""
    truth = np.arange(1000) % 2
    eager, got = truth.copy(), truth.copy()
    eager[900:], got[900:] = 1 - eager[900:], 1 - got[900:]
    got[:worse], got[900 : 900 + better] = 1 - got[:worse], truth[900 : 900 + better]
    examples = tuple(Example("text", None, str(label)) for label in truth)
    reference = Reference(classes(eager), CLASSIFICATION, ("0", "1"), examples)
    parity = reference.compare(program(classes(got)))
    wrong = [each for each in missed(parity, DEFAULT_GATES["int4"]) if "accuracy" in each]
    assert (not wrong) is passed
    assert parity.as_dict()["accuracy_eager"] == 0.9
    assert parity.as_dict()["accuracy_device"] == pytest.approx(0.9 - (worse - better) / 1000)


def test_the_accuracy_of_several_labels_is_the_share_of_texts_with_exactly_theirs():
    """A text without any label, and given none, is right as well."""
    task_type = find_task_type("multilabel")
    truth = [("a", "b"), (), ("a",), ("b",)]
    eager = np.array([[2.0, 2.0], [-2, -2], [2, -2], [2, 2]])
    got = np.array([[2.0, -2.0], [-2, -2], [2, -2], [2, 2]])
    examples = tuple(Example("text", None, labels) for labels in truth)
    found = Reference(eager, task_type, ("a", "b"), examples).compare(program(got)).as_dict()
    assert (found["accuracy_eager"], found["accuracy_device"]) == (0.75, 0.5)


def test_few_texts_refuse_a_loss_of_accuracy_only_where_it_is_sure():
    truth = np.arange(60) % 2
    examples = tuple(Example("text", None, str(label)) for label in truth)
    reference = Reference(classes(truth), CLASSIFICATION, ("0", "1"), examples)
    for lost, passed in ((1, True), (3, True), (12, False)):
        got = truth.copy()
        got[:lost] = 1 - got[:lost]
        wrong = missed(reference.compare(program(classes(got))), DEFAULT_GATES["int4"])
        assert (not [each for each in wrong if "accuracy" in each]) is passed


def test_random_ids_alone_are_thin_evidence():
    parity = Reference(classes(np.arange(1000) % 2), judged=1000).compare(program(classes(np.arange(1000) % 2)))
    assert parity.as_dict()["evidence"] == "thin" and parity.as_dict()["texts"] == 0
    assert "only random ids" in thin_line(parity)


def test_another_processor_is_held_to_the_answers_of_here():
    logits = classes(np.arange(40) % 2)
    reference, here = Reference(logits, real=True), program(logits + 0.05)
    allowed = tolerance(reference, INT8, here[3])
    for off, passed in ((0.9 * allowed, True), (1.1 * allowed, False)):
        there = [here[0], here[3] + np.array([off, 0])]
        if passed:
            found = require_same_elsewhere(reference, INT8, here, there, [0, 3], "arm")
            assert found == {"device": "arm", "rows": 2, "max_abs_diff": pytest.approx(off)}
        else:
            with pytest.raises(GateError, match="input 4 is off"):
                require_same_elsewhere(reference, INT8, here, there, [0, 3], "arm")


@pytest.mark.parametrize("scale", [1e-5, 1.0, 2e4])
@pytest.mark.parametrize(("scheme", "part"), [(NONE, 1e-4), (INT8, 0.25)], ids=["fp32", "int8"])
def test_tolerances_of_a_regressions_self_test_follow_its_scale(scale, scheme, part):
    scores = scale * RANDOM.standard_normal(64)
    reference = numbers(scores)
    expected = part * scores.std() + 1e-6 * np.abs(scores).max()
    assert tolerance(reference, scheme, scores[:1]) == pytest.approx(expected)


def test_several_tasks_together_count_the_texts_that_have_labels():
    labelled = compare(list(classes(np.arange(400) % 2)), list(classes(np.r_[1, np.arange(1, 400) % 2])))
    other = numbers(np.arange(50.0)).compare(program(np.arange(50.0)[:, None]))
    found = parity_of_all([labelled, other])
    assert found["label_agreement"] == pytest.approx(399 / 400)
    assert found["samples"] == 450
    assert parity_of_all([other, other])["label_agreement"] is None
    assert parity_of_all([other]) == other.as_dict()
