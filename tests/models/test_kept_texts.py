"""Evaluation texts are drawn by class: a rare class is there, and the rest is as the data are."""

import numpy as np
import pytest

from spartanc.models.kept_texts import draw_by_class


def test_all_are_kept_where_there_are_few():
    assert draw_by_class(np.zeros(700, int)) == list(range(700))


def test_a_rare_class_gets_its_thirty_and_no_row_comes_twice():
    classes = np.r_[np.zeros(4960, int), np.ones(40, int)]
    kept = draw_by_class(classes, seed=3)
    assert len(kept) == len(set(kept)) == 1000
    assert kept == sorted(kept)
    assert (classes[kept] == 1).sum() >= 30


def test_every_class_is_there_where_they_are_many():
    classes = np.arange(5000) % 400
    kept = draw_by_class(classes, seed=1)
    assert len(kept) == 1000
    assert set(classes[kept].tolist()) == set(range(400))
    assert len(draw_by_class(np.arange(5000))) == 1000  # more classes than texts may be kept


def test_beyond_thirty_of_each_the_draw_is_as_the_data_are():
    classes = np.r_[np.zeros(4000, int), np.ones(4000, int), np.full(30, 2)]
    shares = np.bincount(classes[draw_by_class(classes, seed=2)]) / 1000
    assert shares[2] == pytest.approx(0.03)
    assert shares[0] == pytest.approx(shares[1], abs=0.07)


def test_a_draw_depends_on_its_seed_alone():
    classes = np.arange(3000) % 3
    assert draw_by_class(classes, seed=5) == draw_by_class(classes, seed=5) != draw_by_class(classes, seed=6)
