"""What a number of texts can say: exact intervals, and a rule whose errors are those that the documentation states."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from spartanc.compiler.evidence import class_is_refused, clopper_pearson, fisher, share_is_refused

ROOT = Path(__file__).parents[2]


def tail(texts, share, counts):
    """The chance of these counts of successes, by the definition of the binomial distribution."""
    return math.fsum(math.comb(texts, k) * share**k * (1 - share) ** (texts - k) for k in counts)


@pytest.mark.parametrize(("agreeing", "texts"), [(31, 32), (297, 300), (990, 1000), (3, 7), (1, 1)])
def test_bounds_are_where_each_tail_holds_two_and_a_half_percent(agreeing, texts):
    low, high = clopper_pearson(agreeing, texts)
    assert tail(texts, low, range(agreeing, texts + 1)) == pytest.approx(0.025)
    if agreeing < texts:
        assert tail(texts, high, range(agreeing + 1)) == pytest.approx(0.025)
    else:
        assert high == 1


def test_nothing_known_says_nothing():
    assert clopper_pearson(0, 0) == (0, 1)
    assert clopper_pearson(0, 5)[0] == 0
    assert fisher(0.999, 3) == (-1, 1)


@pytest.mark.parametrize(
    ("agreeing", "texts", "refused"),
    [
        (297, 300, False),  # 0.99 observed
        (296, 300, True),  # below it, on enough texts
        (295, 299, False),  # below it on too few to say so: up to 0.9963
        (290, 299, True),  # but this can't be 0.99
        (31, 32, False),
        (29, 32, True),  # at best 0.980
        (990, 1000, False),
        (989, 1000, True),
        (0, 1, True),  # at best 0.975
        (0, 0, False),
    ],
)
def test_refused_is_what_is_observed_on_enough_texts_or_shown_by_few(agreeing, texts, refused):
    assert share_is_refused(agreeing, texts, 0.99) is refused


@pytest.mark.parametrize(
    ("agreeing", "texts", "refused"),
    [(25, 29, False), (22, 29, True), (29, 30, False), (27, 30, True), (0, 2, True), (1, 2, False)],
)
def test_a_class_of_few_texts_is_refused_only_where_it_is_plainly_broken(agreeing, texts, refused):
    assert class_is_refused(agreeing, texts, 0.99) is refused


def test_fishers_interval_agrees_with_a_published_example():
    low, high = fisher(0.5, 28)  # atanh(0.5) = 0.5493, less and more 1.96 / 5
    assert (low, high) == pytest.approx((math.tanh(0.5493 - 0.392), math.tanh(0.5493 + 0.392)), abs=1e-4)


def test_error_rates_in_the_documentation_are_those_of_the_rule():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gate_errors.py"], capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs" / "validation.md").read_text()
    rows = done.stdout.strip().splitlines()
    assert len(rows) == 10
    for row in rows:
        assert row in page


def test_an_error_rate_is_the_chance_of_what_is_refused():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from gate_errors import refused

    first_accepted = next(k for k in range(301) if not share_is_refused(k, 300, 0.99))
    assert first_accepted == 297
    assert refused(300, 0.98) == pytest.approx(tail(300, 0.98, range(297)))
    assert refused(32, 0.9) == pytest.approx(tail(32, 0.9, [k for k in range(33) if share_is_refused(k, 32, 0.99)]))
