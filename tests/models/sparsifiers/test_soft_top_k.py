"""Soft top-k against its definition, solved anew by scipy, and its gradient against finite differences."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, linprog
from scipy.special import expit

from spartanc.models.sparsifiers.pool import best_within
from spartanc.models.sparsifiers.soft_top_k import soft_top_k


def problem(count: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(count, generator=generator, dtype=torch.float64)
    return values, torch.rand(count, generator=generator, dtype=torch.float64) + 0.5


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_it_is_the_regularised_transport_plan(sharpness, share):
    values, costs = problem()
    budget = share * float(costs.sum())
    scaled = (sharpness * values / costs).numpy()
    threshold = brentq(lambda mu: float((costs.numpy() * expit(scaled + mu)).sum()) - budget, -1e4, 1e4, xtol=1e-14)
    found = soft_top_k(values, costs, budget, sharpness)
    np.testing.assert_allclose(found.numpy(), expit(scaled + threshold), atol=1e-6)
    assert float((costs * found).sum()) == pytest.approx(budget, abs=1e-6)


def test_no_other_plan_within_the_budget_earns_more():
    """The objective of the paper: earnings plus entropy over sharpness, for plans that move c_i in all."""
    values, costs = problem(count=12)
    budget, sharpness = 0.4 * float(costs.sum()), 5.0

    def objective(mask: torch.Tensor) -> float:
        plan = torch.stack([costs * mask, costs * (1 - mask)])
        return float((values * mask).sum() - torch.xlogy(plan, plan).sum() / sharpness)

    best = soft_top_k(values, costs, budget, sharpness)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        step = torch.randn(len(values), generator=generator, dtype=torch.float64) * 1e-3
        step -= costs * (costs @ step) / (costs @ costs)  # the cost stays
        other = (best + step).clamp(0, 1)
        assert objective(other) <= objective(best) + 1e-9 or abs(float(costs @ other) - budget) > 1e-9


def test_in_the_limit_it_is_hard_top_k():
    values, _ = problem()
    costs = torch.ones_like(values)
    found = soft_top_k(values, costs, 13, sharpness=1e7)
    wanted = torch.zeros_like(values).index_fill(0, values.topk(13).indices, 1.0)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    assert torch.equal(best_within(values, costs, 13), wanted.bool())


def test_in_the_limit_with_costs_it_is_the_knapsack_s_linear_program():
    values, costs = problem(count=15)
    budget = 0.37 * float(costs.sum())
    wanted = linprog(-values.numpy(), A_ub=costs.numpy()[None], b_ub=[budget], bounds=(0, 1)).x
    np.testing.assert_allclose(soft_top_k(values, costs, budget, 1e7).numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("sharpness", [0.5, 4.0, 20.0])
def test_the_gradient_is_that_of_finite_differences(sharpness):
    values, costs = problem(count=10)
    budget = 0.3 * float(costs.sum())
    values.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: soft_top_k(v, costs, budget, sharpness), (values,), eps=1e-6, atol=1e-6)


def test_everything_is_kept_where_the_budget_allows_it():
    values, costs = problem()
    assert torch.equal(soft_top_k(values, costs, float(costs.sum()), 1.0), torch.ones_like(values))


def test_equal_values_share_the_budget():
    costs = torch.ones(8, dtype=torch.float64)
    torch.testing.assert_close(soft_top_k(torch.ones(8, dtype=torch.float64), costs, 2.0, 1e6), costs / 4)


@pytest.mark.parametrize(("budget", "sharpness"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_a_budget_or_a_sharpness_of_nothing_is_refused(budget, sharpness):
    values, costs = problem()
    with pytest.raises(ValueError, match="above 0"):
        soft_top_k(values, costs, budget, sharpness)
