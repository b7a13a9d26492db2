"""Memories that start from data: selective from the first step, in a reproducible way, and adding little."""

import pytest
import torch

from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.memory import SpartanConfig
from spartanc.models.start import hidden_states, k_means, start_memories
from support.encoders import write_encoder


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    spartan = SpartanConfig(parents=4, cells=8, top_k=2)
    return build_classifier(load_backbone(write_encoder(tmp_path / "encoder")), spartan, 2, pairs=False)


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 40, (64, 9), generator=generator)
    mask = torch.ones_like(ids)
    mask[:, 6:] = torch.randint(0, 2, (64, 1), generator=generator)
    return [{"input_ids": ids * mask, "attention_mask": mask}]


def test_logits_vary_between_tokens_by_the_scales_around_nought(classifier, batches):
    before = [memory.values.clone() for memory in classifier.memories()]
    small = hidden_states(classifier, batches)[0] @ classifier.memories()[0].parents.T
    assert small.std(0).max() < 0.5
    start_memories(classifier, batches, parent_scale=1.5, key_scale=3.0, seed=0)
    for memory, x_NH in zip(classifier.memories(), hidden_states(classifier, batches), strict=True):
        for rows, scale in ((memory.parents, 1.5), (memory.keys, 3.0)):
            logits = x_NH @ rows.T
            assert torch.allclose(logits.std(0, correction=0), torch.full((len(rows),), scale), rtol=1e-3)
            assert logits.mean(0).abs().max() < 1e-2 * scale
    assert all(torch.equal(memory.values, values) for memory, values in zip(classifier.memories(), before, strict=True))


def test_every_parent_is_chosen_somewhere(classifier, batches):
    start_memories(classifier, batches, parent_scale=1.0, key_scale=2.0, seed=0)
    for memory, x_NH in zip(classifier.memories(), hidden_states(classifier, batches), strict=True):
        assert (memory.parent_weights(x_NH.unsqueeze(0)) > 0).flatten(0, 1).any(0).all()


def test_states_are_the_plain_encoders_at_real_tokens(classifier, batches):
    for memory in classifier.memories():
        torch.nn.init.zeros_(memory.values)
    mask = batches[0]["attention_mask"].bool()
    trace = classifier.eval().trace(batches[0]["input_ids"], batches[0]["attention_mask"])
    for memory in classifier.memories():
        torch.nn.init.ones_(memory.values)
    for states, expected in zip(hidden_states(classifier, batches), trace.hidden_states[1:], strict=True):
        assert torch.allclose(states, expected[mask], atol=1e-6)


def test_same_seed_gives_the_same_start(classifier, batches):
    def parents(seed):
        start_memories(classifier, batches, 1.0, 2.0, seed)
        return classifier.memories()[1].parents.detach().clone()

    first = parents(3)
    assert torch.equal(first, parents(3))
    assert not torch.equal(first, parents(4))


def test_k_means_finds_separate_clusters_and_takes_fewer_rows_than_centres():
    generator = torch.Generator().manual_seed(0)
    truth = 20 * torch.eye(4, 6)
    rows = (truth.unsqueeze(1) + torch.randn(4, 50, 6, generator=generator)).flatten(0, 1)
    best = min(
        (torch.cdist(truth, k_means(rows, 4, torch.Generator().manual_seed(seed))[0]).amin(1).max().item())
        for seed in range(5)
    )
    assert best < 1.0
    centres, nearest = k_means(rows[:2], 3, generator)
    assert centres.shape == (3, 6)
    assert torch.isfinite(centres).all()
    assert nearest.tolist() != [nearest[0].item()] * 2
