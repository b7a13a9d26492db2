"""What each sparsifier chooses, against its paper's definition written anew."""

import pytest
import torch
from torch import nn

from spartanc.errors import UsageError
from spartanc.models.sparsifiers.catalogue import SPARSIFIERS, find_sparsifier
from spartanc.models.sparsifiers.masking import FROZEN_FROM, Masking
from spartanc.models.sparsifiers.pool import Pool, best_within
from spartanc.models.sparsifiers.second_order import SecondOrder
from spartanc.models.sparsifiers.spartan import Spartan
from spartanc.models.sparsifiers.top_kast import TopKast


def columns(outputs: int = 5, units: int = 20, keep: int = 6, seed: int = 0) -> tuple[nn.Linear, Pool]:
    torch.manual_seed(seed)
    linear = nn.Linear(units, outputs)
    return linear, Pool([linear.weight], (0,), torch.ones(units, dtype=torch.float64), float(keep))


@pytest.mark.parametrize("each", SPARSIFIERS, ids=lambda each: each.name)
def test_every_sparsifier_meets_the_budget(each):
    linear, pool = columns()
    pool.saliency = lambda kept: linear.weight.detach().square().sum(0)
    pool.costs = torch.linspace(1, 3, 20, dtype=torch.float64)
    pool.budget = 11.0
    kept = each.choose(pool)
    spent = float(pool.costs[kept].sum())
    assert 11.0 - 3.0 < spent <= 11.0  # no further block of the dearest kind fits
    assert torch.equal(kept, each.choose(pool))
    assert find_sparsifier(each.name) is each


def test_top_kast_computes_with_a_and_learns_in_b():
    linear, pool = columns(keep=6)
    masks = TopKast(wider=1.5).masks(pool, 0.0)
    longest = linear.weight.detach().norm(dim=0).argsort(descending=True)
    assert set(masks.forward.nonzero().flatten().tolist()) == set(longest[:6].tolist())
    assert set(masks.backward.nonzero().flatten().tolist()) == set(longest[:9].tolist())


def test_top_kast_s_gradients_are_those_of_the_masked_weights_in_b_and_none_elsewhere():
    linear, pool = columns(keep=6)
    before = linear.weight
    x = torch.randn(7, 20)
    masking = Masking(TopKast(wider=1.5), [pool], [[(linear, "weight")]])
    masking.advance(0.0)
    masks = TopKast(wider=1.5).masks(pool, 0.0)
    dense = (before.detach() * masks.forward).requires_grad_(True)
    wanted = torch.autograd.grad((x @ dense.T + linear.bias).square().sum(), dense)[0] * masks.backward
    linear(x).square().sum().backward()
    torch.testing.assert_close(before.grad, wanted)


def test_top_kast_pulls_what_stands_still_by_the_inverse_density():
    linear, pool = columns(keep=5)
    sparsifier = TopKast(wider=2.0, strength=0.5)
    masks = sparsifier.masks(pool, 0.0)
    (gradient,) = torch.autograd.grad(sparsifier.penalty(pool, masks), linear.weight)
    weight = linear.weight.detach()
    factor = torch.where(masks.forward.bool(), 1.0, 20 / 5) * masks.backward  # density 5 of 20
    torch.testing.assert_close(gradient, 2 * 0.5 * factor * weight)


def test_spartan_computes_with_the_projected_soft_weights_and_learns_as_if_they_were_not_projected():
    linear, pool = columns(keep=6)
    weight, sparsifier = linear.weight, Spartan(first=2.0, last=2.0, shrinks_until=1e-9)
    x = torch.randn(7, 20)
    masks = sparsifier.masks(pool, 0.5)
    assert float(masks.soft.detach().sum()) == pytest.approx(6, abs=1e-5)
    kept = weight.detach().norm(dim=0).topk(6).indices
    assert set(masks.forward.nonzero().flatten().tolist()) == set(kept.tolist())
    soft = weight * masks.soft
    projected = (soft.detach() * masks.forward).requires_grad_(True)
    inner = torch.autograd.grad((x @ projected.T + linear.bias).square().sum(), projected)[0]
    (wanted,) = torch.autograd.grad(soft, weight, inner)
    masking = Masking(sparsifier, [pool], [[(linear, "weight")]])
    masking.advance(0.5)
    out = linear(x)
    torch.testing.assert_close(out, x @ projected.T + linear.bias)
    out.square().sum().backward()
    torch.testing.assert_close(weight.grad, wanted)


def test_spartan_s_budget_comes_down_and_its_sharpness_grows():
    _, pool = columns(keep=6)
    sparsifier = Spartan(first=1, last=20, shrinks_until=0.2)
    assert [sparsifier.budget(pool, at) for at in (0.0, 0.1, 0.2, 1.0)] == pytest.approx([20, 13, 6, 6])
    assert [sparsifier.sharpness(at) for at in (0.0, 0.5, 1.0)] == [1, 10.5, 20]


def test_spartan_keeps_by_length_per_cost():
    _, pool = columns(units=3, keep=1)
    with torch.no_grad():
        pool.weights[0][:] = torch.tensor([3.0, 2.0, 1.0])
    pool.costs, pool.budget = torch.tensor([4.0, 1.0, 1.0], dtype=torch.float64), 2.0
    assert Spartan().choose(pool).tolist() == [False, True, True]


def test_second_order_asks_again_what_a_removal_costs():
    """Two units that do the same: one can go for nothing, then the other is dear."""
    _, pool = columns(units=3, keep=2)

    def saliency(kept: torch.Tensor) -> torch.Tensor:
        twin = torch.tensor([0.0, 0.0]) if bool(kept[:2].all()) else torch.tensor([9.0, 9.0])
        return torch.cat([twin, torch.tensor([1.0])])

    pool.saliency, pool.budget = saliency, 1.0
    assert SecondOrder().choose(pool).tolist() in ([True, False, False], [False, True, False])


def test_masks_stand_still_towards_the_end_and_leave_plain_zeros():
    linear, pool = columns(keep=6)
    weight = linear.weight
    masking = Masking(Spartan(), [pool], [[(linear, "weight")]])
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    seen = []
    for step in range(20):
        masking.advance(step / 20)
        optimizer.zero_grad()
        linear(torch.randn(4, 20)).square().sum().backward()
        optimizer.step()
        seen.append(masking.kept()[0])
    frozen = seen[int(20 * FROZEN_FROM) :]
    assert all(torch.equal(frozen[0], each) for each in frozen)
    before = linear(torch.ones(20))
    (kept,) = masking.finish()
    assert linear.weight is weight
    torch.testing.assert_close(linear(torch.ones(20)), before)
    assert torch.equal(linear.weight.abs().sum(0) > 0, kept)
    assert int(kept.sum()) == 6


def test_several_weights_share_one_budget():
    torch.manual_seed(0)
    small, large = nn.Linear(4, 3), nn.Linear(4, 3)
    with torch.no_grad():
        small.weight.mul_(0.01)
    pool = Pool([small.weight, large.weight], (0,), torch.ones(8, dtype=torch.float64), 4.0)
    kept = find_sparsifier("magnitude").choose(pool)
    assert [part.sum().item() for part in pool.split(kept)] == [0, 4]


def test_single_numbers_can_be_blocks():
    linear, _ = columns()
    pool = Pool([linear.weight], (), torch.ones(100, dtype=torch.float64), 25.0)
    kept = pool.split(find_sparsifier("magnitude").choose(pool))[0]
    assert kept.shape == linear.weight.shape
    assert kept.sum() == 25
    assert linear.weight.abs()[kept].min() >= linear.weight.abs()[~kept].max()


@pytest.mark.parametrize("name", ["magnitude", "random", "top-kast"])
def test_masks_are_where_the_weights_are(name):
    """On torch's device without numbers, since there may be no other one here."""
    _, pool = columns()
    pool.weights, pool.costs = [weight.to("meta") for weight in pool.weights], pool.costs.to("meta")
    masks = find_sparsifier(name).masks(pool, 0.5)
    parts = [part for blocks in (masks.forward, masks.backward) for part in pool.split(blocks)]
    assert [(part.device.type, part.shape) for part in parts] == [("meta", (1, 20))] * 2


def test_a_budget_of_nothing_is_refused():
    linear, _ = columns()
    with pytest.raises(UsageError, match="keeps nothing"):
        Pool([linear.weight], (0,), torch.ones(20, dtype=torch.float64), 0.0)


def test_equal_blocks_are_kept_from_the_first():
    ones = torch.ones(5)
    assert best_within(ones, ones.double(), 2.0).tolist() == [True, True, False, False, False]
