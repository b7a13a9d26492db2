"""Second moments, saliencies and solved matrices, against least squares and removals done one by one."""

import pytest
import torch

from spartanc.models.slim.feed_forward import DAMPING, FeedForwardFit


def problem(tokens=200, units=12, hidden=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(tokens, units, generator=generator, dtype=torch.float64).clamp(min=-0.2)
    a = torch.cat([a, torch.ones(tokens, 1, dtype=torch.float64)], 1)
    target = torch.randn(tokens, hidden, generator=generator, dtype=torch.float64) + a @ torch.randn(
        units + 1, hidden, generator=generator, dtype=torch.float64
    )
    start = torch.randn(hidden, units + 1, generator=generator, dtype=torch.float64)
    fit = FeedForwardFit(a.T @ a, target.T @ a, float(target.square().sum()), 50.0, start)
    return a, target, start, fit


def best(a, target, start, kept):
    """The damped problem as one of ordinary least squares, and what it leaves."""
    index = torch.cat([kept.nonzero().flatten(), torch.tensor([len(kept)])])
    damping = DAMPING * float((a.T @ a).diagonal()[:-1].mean())
    pull = damping**0.5 * torch.eye(len(index), dtype=torch.float64)
    rows = torch.cat([a[:, index], pull])
    wanted = torch.cat([target, damping**0.5 * start[:, index].T])
    solved = torch.linalg.lstsq(rows, wanted).solution
    return solved.T, float((rows @ solved - wanted).square().sum())


@pytest.mark.parametrize("gone", [[], [3], [0, 5, 11]])
def test_the_second_matrix_is_the_damped_least_squares_solution(gone):
    a, target, start, fit = problem()
    kept = torch.ones(12, dtype=torch.bool)
    kept[gone] = False
    weight, bias = fit.solve(kept)
    wanted, _ = best(a, target, start, kept)
    torch.testing.assert_close(torch.cat([weight, bias.unsqueeze(1)], 1), wanted)


def test_a_saliency_is_what_the_error_grows_by():
    """Where what a unit is pulled to is nothing, its removal changes the problem by its column alone."""
    a, target, start, fit = problem()
    start = torch.zeros_like(start)
    fit = FeedForwardFit(a.T @ a, target.T @ a, fit.squares, fit.energy, start)
    kept = torch.ones(12, dtype=torch.bool)
    kept[[2, 7]] = False
    _, before = best(a, target, start, kept)
    found = fit.saliency(kept)
    for unit in kept.nonzero().flatten().tolist():
        without = kept.clone()
        without[unit] = False
        _, after = best(a, target, start, without)
        assert float(found[unit]) == pytest.approx(after - before, rel=1e-6)
    assert found[~kept].tolist() == [0, 0]


def test_what_is_missed_is_a_share_of_the_residual_s_variance():
    a, target, start, fit = problem()
    kept = torch.ones(12, dtype=torch.bool)
    kept[4] = False
    solved, _ = best(a, target, start, kept)
    index = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]
    left = float((a[:, index] @ solved.T - target).square().sum())
    assert fit.unexplained(kept) == pytest.approx(left / 50.0, rel=1e-9)
