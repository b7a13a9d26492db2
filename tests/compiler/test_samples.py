"""The rows that a program is judged on reach the whole vocabulary and every length."""

import numpy as np
import pytest

from spartanc.compiler import samples
from spartanc.compiler.samples import encode_examples, random_rows, random_samples, row, sweep_rows
from spartanc.runtime_py.data import Example
from support.models import tiny_tokenizer


def ids_of(rows):
    return np.concatenate([ids.ravel() for ids, _ in rows])


@pytest.mark.parametrize(("vocabulary", "max_length"), [(64, 40), (30_522, 128), (7, 2), (2, 2), (50_265, 512)])
def test_special_ids_and_the_last_always_are_there_and_none_is_outside(vocabulary, max_length):
    rows = sweep_rows([], vocabulary, max_length, 0)
    ids = ids_of(rows)
    assert {*range(min(10, vocabulary)), vocabulary - 1} <= set(ids.tolist())
    assert ids.min() >= 0 and ids.max() < vocabulary
    assert all(mask.all() for _, mask in rows)


def test_every_id_can_be_drawn(monkeypatch):
    drawn = set()
    for seed in range(60):
        monkeypatch.setattr(samples, "SEED", seed)
        drawn |= set(ids_of(random_rows(64, 40)).tolist())
    assert drawn == set(range(64))


def test_no_id_is_drawn_more_often_than_another(monkeypatch):
    counts = np.zeros(20)
    for seed in range(300):
        monkeypatch.setattr(samples, "SEED", seed)
        counts += np.bincount(ids_of(random_rows(20, 40)), minlength=20)
    share = counts / counts.sum()
    assert np.abs(share - 1 / 20).max() < 5 * np.sqrt(1 / 20 / counts.sum())


def test_lengths_go_from_one_to_the_longest_and_several_rows_are_the_longest():
    lengths = [ids.shape[1] for ids, _ in sweep_rows([], 64, 40, 0)]
    assert {1, 2, 3} <= set(lengths) and len(set(lengths)) >= 6
    assert lengths.count(40) >= 3
    assert [ids.shape[1] for ids, _ in random_rows(64, 40)][0::15] == [1, 40]


def test_level_rows_hold_one_id_at_every_position():
    level = [ids for ids, _ in sweep_rows([], 64, 40, 1) if ids.shape[1] > 1 and np.ptp(ids) == 0]
    assert {ids.shape[1] for ids in level} == {2, 40}
    assert any((ids == 1).all() for ids in level)  # the padding's id, as plain input


def test_two_texts_come_padded_too():
    given = [row([2, 5, 3]), row([2, 6, 7, 3])]
    *_, first, second = sweep_rows(given, 64, 8, 1)
    assert first[0].tolist() == [[2, 5, 3, 1, 1, 1, 1, 1]]
    assert first[1].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]
    assert second[1].sum() == 4


def test_what_is_judged_is_texts_or_else_random_rows():
    encoded = encode_examples([Example("a good film"), Example("a bad film")], tiny_tokenizer(), 16)
    assert encoded.judged == len(encoded.rows) == len(encoded.examples) == 2
    assert random_samples(64, 16).judged == len(random_samples(64, 16).rows) == 16
    assert random_samples(64, 16).examples == ()
