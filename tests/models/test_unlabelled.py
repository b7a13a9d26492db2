"""Texts without labels: how kinds are mixed and long texts cut."""

from spartanc.models import unlabelled
from spartanc.models.unlabelled import LONGEST, mix

KINDS = [[f"the first kind says sentence {number}" for number in range(30)], ["a kind of its own says this"]]


def test_a_kind_of_many_texts_does_not_crowd_out_one_of_few(monkeypatch):
    monkeypatch.setattr(unlabelled, "MOST", 5)
    mixed = mix(KINDS, seed=0)
    assert len(mixed) == 6 and "a kind of its own says this" in mixed
    assert mixed == mix(KINDS, seed=0) != mix(KINDS, seed=1)


def test_a_text_stands_once_and_short_ones_are_left_out():
    assert mix([["to be or not to be", "to  be or not to be\n", "to be"]], seed=0) == ["to be or not to be"]


def test_long_texts_are_cut_at_ends_of_sentences():
    sentence = "This sentence has six more words."
    parts = mix([[" ".join([sentence] * 30 + ["x " * LONGEST + "end."])]], seed=0)
    assert all(len(part) < LONGEST or part.startswith("x ") for part in parts)
    assert all(part.endswith((sentence, "end.")) for part in parts)
