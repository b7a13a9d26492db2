"""Sparse memories: as many zeros as were asked for in what is judged, kept and saved, whatever chooses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from spartanc.errors import UsageError
from spartanc.models.settings import MEMORY_SPARSIFIERS, TrainSettings
from spartanc.models.sparse_memories import SparseMemories, make_sparse
from support.models import tiny_model

IDS = torch.tensor([[2, 5, 6, 7, 3]])


def zeros(classifier) -> list[float]:
    """Share of zeros in keys and values of every memory, as they compute now."""
    tensors = [tensor for memory in classifier.memories() for tensor in (memory.keys, memory.values)]
    return [float((tensor == 0).float().mean()) for tensor in tensors]


def trained(sparsifier: str, steps: int = 20, looks: Sequence[int] = (), cuts: Sequence[int] = ()):
    """A small classifier after some steps, as the trainer makes them, its masks still on.

    looks: steps before which it is evaluated. cuts: those before which it is, and goes on from a checkpoint of that.
    """
    torch.manual_seed(0)
    classifier, optimizer, sparse = begun(sparsifier)
    for step in range(steps):
        if step in (*looks, *cuts):
            sparse.project()
        if step in cuts:
            before = classifier.state_dict(), optimizer.state_dict(), sparse
            classifier, optimizer, sparse = begun(sparsifier)
            classifier.load_state_dict(before[0])
            optimizer.load_state_dict(before[1])
            with TemporaryDirectory() as checkpoint:
                before[2].save(Path(checkpoint))
                sparse.load(Path(checkpoint))
        sparse.advance(step / steps)
        loss = classifier(IDS, torch.ones_like(IDS)).square().sum()
        penalty = sparse.penalty()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        optimizer.zero_grad()
    return classifier, sparse


def begun(sparsifier: str):
    classifier = tiny_model("bert", seed=1).module
    optimizer = torch.optim.AdamW(
        [part for memory in classifier.memories() for part in (memory.keys, memory.values)], lr=1e-2
    )
    return classifier, optimizer, SparseMemories(classifier, 0.5, sparsifier)


def logits(classifier):
    with torch.no_grad():
        return classifier(IDS, torch.ones_like(IDS))


@pytest.mark.parametrize("sparsifier", MEMORY_SPARSIFIERS)
def test_what_is_left_is_as_sparse_as_was_asked_and_computes_the_same(sparsifier):
    classifier, sparse = trained(sparsifier)
    names = [name for name, _ in classifier.named_parameters()]
    before = logits(classifier)
    sparse.finish()
    assert zeros(classifier) == [0.5] * 4
    assert torch.equal(logits(classifier), before)
    assert (
        [name for name, _ in classifier.named_parameters()]
        == names
        == list(dict(tiny_model().module.named_parameters()))
    )
    assert all(parent.any() for memory in classifier.memories() for parent in memory.parents)


@pytest.mark.parametrize("sparsifier", MEMORY_SPARSIFIERS)
def test_an_evaluation_in_the_middle_judges_memories_as_sparse_as_in_the_end(sparsifier, tmp_path):
    """Restored from its checkpoint, the model is the one that was judged, and it can go on from there."""
    classifier, sparse = trained(sparsifier, steps=2)  # both steps are in the first 70%, where masks move
    sparse.project()
    assert zeros(classifier) == [0.5] * 4
    judged = logits(classifier)
    sparse.save(tmp_path)
    weights = {name: value.clone() for name, value in classifier.state_dict().items()}

    sparse.advance(0.6)
    with torch.no_grad():
        for memory in classifier.memories():
            memory._parameters["keys"].normal_()
    other = tiny_model("bert", seed=1).module
    restored = SparseMemories(other, 0.5, sparsifier)
    other.load_state_dict(weights)
    restored.load(tmp_path)
    assert torch.equal(logits(other), judged)
    restored.advance(0.9)
    assert zeros(other) == [0.5] * 4
    restored.finish()
    assert zeros(other) == [0.5] * 4


@pytest.mark.parametrize("sparsifier", MEMORY_SPARSIFIERS)
@pytest.mark.parametrize("when", ["looks", "cuts"])
def test_neither_evaluations_nor_checkpoints_change_a_training(sparsifier, when):
    """At every stage: before a choice that does not move, while masks move, between two choices, at rest."""
    whole, _ = trained(sparsifier)
    other, _ = trained(sparsifier, **{when: (2, 7, 8, 12, 17)})
    for name, value in whole.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert zeros(whole) == zeros(other) == [0.5] * 4


@pytest.mark.parametrize("sparsifier", ["magnitude", "random"])
def test_a_choice_that_does_not_move_is_made_at_30_percent_whatever_was_evaluated_before(sparsifier):
    classifier, sparse = trained(sparsifier, steps=0)
    seen = []
    for step in range(20):
        if step in (3, 5):
            sparse.project()
            assert zeros(classifier) == [0.5] * 4
        sparse.advance(step / 20)
        seen.append(zeros(classifier))
    assert seen == [[0.0] * 4] * 6 + [[0.5] * 4] * 14


def test_an_evaluation_after_the_choice_judges_what_will_be_kept():
    classifier, sparse = trained("magnitude", steps=0)
    sparse.advance(0.3)
    chosen = [memory.keys == 0 for memory in classifier.memories()]
    with torch.no_grad():
        for memory in classifier.memories():
            memory._parameters["keys"].normal_()
    sparse.project()
    assert all(torch.equal(memory.keys == 0, zero) for memory, zero in zip(classifier.memories(), chosen, strict=True))
    sparse.advance(0.4)
    assert all(torch.equal(memory.keys == 0, zero) for memory, zero in zip(classifier.memories(), chosen, strict=True))


def test_a_frozen_choice_is_restored_and_not_made_anew(tmp_path):
    classifier, sparse = trained("spartan")
    judged = logits(classifier)
    sparse.project()
    assert torch.equal(logits(classifier), judged)
    sparse.save(tmp_path)
    other = tiny_model("bert", seed=1).module
    restored = SparseMemories(other, 0.5, "spartan")
    other.load_state_dict(classifier.state_dict())
    restored.load(tmp_path)
    restored.advance(0.95)
    assert torch.equal(logits(other), judged)
    restored.finish()
    assert torch.equal(logits(other), judged)


def test_a_checkpoint_without_masks_is_refused(tmp_path):
    _, sparse = trained("top-kast", steps=1)
    with pytest.raises(UsageError, match="holds no masks"):
        sparse.load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"memory_sparsity": 1.0}, "from 0 to below 1, got `1.0`"),
        ({"memory_sparsity": -0.1}, "from 0 to below 1"),
        ({"memory_sparsity": 0.5, "sparsifier": "second-order"}, "is not one of magnitude, random, top-kast, spartan"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        TrainSettings(**settings)


def test_memories_are_dense_unless_asked():
    assert make_sparse(tiny_model().module, TrainSettings()) is None
    with pytest.raises(UsageError, match="keeps nothing"):
        SparseMemories(tiny_model().module, 0.9999, "magnitude")
