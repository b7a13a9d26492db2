"""Units shared out among layers."""

import pytest

from spartanc.models.slim.cost import STEP
from spartanc.models.slim.widths import Curve, share_out

HALF, WHOLE = 512, 1024


def test_the_layer_that_loses_most_keeps_most():
    dear, cheap = Curve((WHOLE, 0), (0.0, 1.0)), Curve((WHOLE, 0), (0.0, 0.1))
    assert share_out([cheap, dear], WHOLE + 96) == [96, WHOLE]


def test_layers_alike_keep_alike():
    curve = Curve((WHOLE, HALF, 0), (0.0, 0.1, 1.0))
    widths = share_out([curve] * 4, 4 * 640)
    assert sum(widths) == 4 * 640
    assert max(widths) - min(widths) <= STEP


@pytest.mark.parametrize("budget", [700, 1500, 2048])
def test_the_budget_is_kept_and_used(budget):
    curves = [Curve((WHOLE, 0), (0.0, 1.0)), Curve((WHOLE, HALF, 0), (0.0, 0.0, 1.0))]
    widths = share_out(curves, budget)
    assert budget - STEP < sum(widths) <= budget
    assert all(width % STEP == 0 for width in widths)


def test_a_curve_is_straight_between_its_points():
    assert Curve((100, 50, 0), (0.0, 0.2, 1.0)).at(75) == pytest.approx(0.1)
