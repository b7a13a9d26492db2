"""Second-order rounding: on the grid, better than the nearest on inputs that go together, means kept."""

import torch
from torch import nn

from spartanc.passes.calibration import by_weight, see_inputs, stored_linears, stored_weights
from spartanc.passes.ops.linear_int8 import quantize_inputs
from spartanc.passes.quantize_linears import quantize_weights
from spartanc.passes.round_weights import Moments, RoundWeights, round_to_grid
from spartanc.passes.weight_grids import INT4
from support import applied_often


def correlated(rows=3000, inputs=48):
    """Rows of which a few directions hold most, with means of their own."""
    return torch.randn(rows, 6) @ torch.randn(6, inputs) + 0.1 * torch.randn(rows, inputs) + torch.randn(inputs)


def moments_of(rows):
    moments = Moments.zeros(rows.shape[1])
    for part in rows.split(700):
        moments.add(part)
    return moments


def rounded(rows):
    q, zero, step = quantize_inputs(rows)
    return (q - zero) * step


def test_weights_are_on_the_grid_that_quantisation_finds_again():
    weight = torch.randn(20, 48)
    on_grid, _ = round_to_grid(weight, moments_of(correlated()))
    integers, scales = quantize_weights(on_grid)
    assert torch.allclose(integers * scales.unsqueeze(1), on_grid, rtol=1e-6, atol=0)
    assert torch.allclose(scales, weight.abs().amax(1) / 127, rtol=1e-6)
    assert not torch.equal(integers, quantize_weights(weight)[0])
    assert (integers - weight / scales.unsqueeze(1)).abs().max() > 0.5, "errors were passed on"


def test_outputs_are_closer_than_by_rounding_to_the_nearest_on_other_rows_too():
    rows, others = correlated(6000).split(3000)
    weight = torch.randn(20, 48)
    on_grid, moved = round_to_grid(weight, moments_of(rows))
    integers, scales = quantize_weights(weight)
    nearest = others @ (integers * scales.unsqueeze(1)).T
    wanted = others @ weight.T
    ours = (others @ on_grid.T + moved - wanted).square().mean()
    assert ours < 0.25 * (nearest - wanted).square().mean()


def test_weights_of_four_bits_are_on_a_grid_that_is_found_again_to_the_bit_and_are_closer_than_the_nearest():
    rows, others = correlated(6000, 64).split(3000)
    weight = torch.randn(20, 64)
    on_grid, moved = round_to_grid(weight, moments_of(rows), INT4)
    assert torch.equal(INT4.rounded(on_grid), on_grid)
    wanted, nearest = others @ weight.T, others @ INT4.rounded(weight).T
    ours = (others @ on_grid.T + moved - wanted).square().mean()
    assert ours < 0.25 * (nearest - wanted).square().mean()


def test_means_of_outputs_are_kept():
    rows, weight = correlated(), torch.randn(20, 48)
    on_grid, moved = round_to_grid(weight, moments_of(rows))
    got = (rounded(rows) @ on_grid.T + moved).mean(0)
    assert (got - (rows @ weight.T).mean(0)).abs().max() < 2e-4


def test_rows_of_zeros_and_inputs_that_never_vary_are_taken():
    rows, weight = correlated(), torch.randn(5, 48)
    rows[:, 4], weight[2] = 3.0, 0
    on_grid, moved = round_to_grid(weight, moments_of(rows))
    assert torch.isfinite(on_grid).all() and torch.isfinite(moved).all()
    assert not on_grid[2].any()


def test_every_stored_linear_but_the_last_is_rounded_and_the_program_given_is_left_as_it_was():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.last = nn.Linear(16, 24, bias=False), nn.Linear(24, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.last(torch.relu(self.two(torch.relu(self.one(x)))))

    module = Net().eval()
    program = torch.export.export(module, (torch.randn(1, 5, 16),)).run_decompositions({})
    given = [(torch.randn(1, 5, 16),) for _ in range(30)]
    before = program.module()(given[0][0])
    changed, report = RoundWeights(given).run(program)
    assert report.changes == 2
    assert torch.equal(program.module()(given[0][0]), before)
    after = changed.module()(given[0][0])
    assert not torch.equal(after, before) and (after - before).abs().max() < 0.05 * before.abs().max()
    for _, tensor in changed.named_buffers():
        if tensor.dim() == 2:
            assert torch.allclose(quantize_weights(tensor)[0] * quantize_weights(tensor)[1].unsqueeze(1), tensor)


def test_a_weight_that_is_applied_often_stays_one_and_is_fitted_to_all_that_it_reads():
    _, program = applied_often.exported()
    given = applied_often.texts()
    changed, report = RoundWeights(given).run(program)
    assert report.changes == 4 and [len(each) for each in by_weight(stored_linears(changed))] == [3, 1]
    assert len({node.args[1:] for node in stored_linears(changed)}) == 2, "biases are shared too"
    seen = {}
    see_inputs(program, stored_linears(program), given, lambda node, rows: seen.setdefault(node.name, []).append(rows))
    (shared, *_), _ = by_weight(stored_linears(changed))
    everything = moments_of(torch.cat([torch.cat(seen[node.name]) for node in by_weight(stored_linears(program))[0]]))
    wanted, _ = round_to_grid(applied_often.exported()[0].shared.weight.detach(), everything)
    got, _ = stored_weights(changed, shared)
    assert (got - wanted).abs().max() <= 2 * wanted.abs().max() / 127, "sums in another order may round otherwise"
