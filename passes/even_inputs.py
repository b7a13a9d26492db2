"""Inputs of linears are evened out, channel by channel, so that rounding a row to 8 bits loses less of it.

before:  linear(x, W, b)                                         one channel of x may be ten times as large as the rest
after:   linear(mul(x, 1 / s), W * s, b)                         s[K], powers of two; one product for all that read x

A row is rounded in steps of its whole range: a few large channels make the steps of all others too wide. Dividing each
channel by its size moves the unevenness into the weights, which have a scale for each output and bear it better. How
far is chosen for every x by the noise that rounding rows and weights would make on the texts given, out of
s = largest |x| ** alpha; powers of two make the change exact to the bit. Inputs that meet the same weight get the same
s. Source: SmoothQuant, arXiv 2211.10438, without its folding into LayerNorms: here residuals and memories read their
output too.

Weights of 4 bits have a scale for every 32 inputs and bear less, so there it is done for fewer inputs, and less of it.

Left alone and counted: inputs that are even already, for which a product would cost time and win nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.calibration import Inputs, by_weight, see_inputs, stored_linears, stored_weights
from spartanc.passes.program import add_constant, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport
from spartanc.passes.rewrite import aten, call
from spartanc.passes.weight_grids import INT8, WeightGrid, grid_of

ALPHAS = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
WORTH = 2.0  # by how much the noise must sink for a product to be worth its time: 3 dB
MOST_ROWS = 4096  # of one input that are looked at
_ROW_STEPS = 255


@dataclass
class _Seen:
    rows: list[Tensor] = field(default_factory=list)
    count: int = 0

    def add(self, rows_RK: Tensor) -> None:
        if self.count < MOST_ROWS:
            self.rows.append(rows_RK[: MOST_ROWS - self.count].clone())
            self.count += len(self.rows[-1])


@dataclass
class _Family:
    """Linears that have to agree on their scales, since they share inputs or weights."""

    linears: list[Node]

    @property
    def inputs(self) -> list[Node]:
        return list(dict.fromkeys(node.args[0] for node in self.linears))

    def readers(self, x: Node) -> list[Node]:
        return [node for node in self.linears if node.args[0] is x]


class EvenInputs(GraphPass):
    name = "even_inputs"
    tolerance = 1e-5  # powers of two change no product; sums may be taken in another order

    def __init__(self, inputs: Inputs, grid: WeightGrid = INT8):
        """inputs: texts as the program takes them. grid: what weights will become."""
        self._inputs = inputs
        self._grid = grid

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        families = _families(stored_linears(program))
        first_readers = [family.readers(x)[0] for family in families for x in family.inputs]
        seen = {node.args[0]: _Seen() for node in first_readers}
        see_inputs(program, first_readers, self._inputs, lambda node, rows: seen[node.args[0]].add(rows))
        gains, even = [], 0
        for family in families:
            most = MOST_ROWS // len(family.inputs)
            rows_RK = torch.cat([torch.cat(seen[x].rows)[:most] for x in family.inputs])
            weights_NK = torch.cat([stored_weights(program, each)[0] for each, *_ in by_weight(family.linears)])
            scales_K, gain = choose_scales(rows_RK, weights_NK, grid_of(self._grid, weights_NK))
            if gain < WORTH:
                even += len(family.inputs)
                continue
            _even(program, family, scales_K, report.changes)
            report.changes += len(family.inputs)
            gains.append(round(gain, 2))
        report.notes |= {"noise_divided_by": gains, "even_already": even}
        return finish(program), report


def choose_scales(rows_RK: Tensor, weights_NK: Tensor, grid: WeightGrid = INT8) -> tuple[Tensor, float]:
    """Scales [K], powers of two, and by how much they divide the variance of rounding's noise in the outputs.

    Ones where nothing is better.
    """
    largest_K = rows_RK.abs().amax(0).clamp(min=torch.finfo(torch.float32).tiny)
    usable_K = largest_K > largest_K.amax() * 1e-6  # a channel that is always zero has no size
    best_K = torch.ones_like(largest_K)
    least = before = _noise(rows_RK, weights_NK, best_K, grid)
    for alpha in ALPHAS:
        exponents_K = (largest_K.log2() * alpha).round()
        exponents_K -= exponents_K[usable_K].median()
        scales_K = torch.where(usable_K, torch.exp2(exponents_K), 1.0)
        noise = _noise(rows_RK, weights_NK, scales_K, grid)
        if noise < least:
            best_K, least = scales_K, noise
    return best_K, before / least if least else 1.0


def _noise(rows_RK: Tensor, weights_NK: Tensor, scales_K: Tensor, grid: WeightGrid) -> float:
    """Mean variance of an output when rows over `scales_K` and weights times them are rounded."""
    rows_RK, weights_NK = rows_RK / scales_K, weights_NK * scales_K
    steps_R = (rows_RK.amax(1).clamp(min=0) - rows_RK.amin(1).clamp(max=0)) / _ROW_STEPS
    steps_NG = grid.grouped(weights_NK).abs().amax(2) / grid.steps
    of_rows = steps_R.square().mean() * weights_NK.square().sum(1).mean()
    of_weights = (steps_NG.square().mean(0) * grid.grouped(rows_RK).square().sum(2).mean(0)).sum()
    return float(of_rows + of_weights) / 12


def _families(linears: Sequence[Node]) -> list[_Family]:
    """All linears; those that read one input, or one weight, are in one family."""
    families: list[_Family] = []
    for node in linears:
        mine = [each for each in families if any({*node.args[:2]} & {*other.args[:2]} for other in each.linears)]
        joined = _Family([*(other for each in mine for other in each.linears), node])
        families = [each for each in families if each not in mine] + [joined]
    return families


def _even(program: ExportedProgram, family: _Family, scales_K: Tensor, number: int) -> None:
    inverse = add_constant(program, f"evening_{number}", 1 / scales_K, InputKind.CONSTANT_TENSOR)
    evened = {}
    for x in family.inputs:
        with program.graph.inserting_before(family.readers(x)[0]):
            evened[x] = call(program.graph, aten.mul.Tensor, (x, inverse))
    for place, linears in enumerate(by_weight(family.linears)):
        weight_NK = stored_weights(program, linears[0])[0] * scales_K
        made = add_constant(program, f"evened_{number}_{place}_weight", weight_NK, InputKind.CONSTANT_TENSOR)
        for node in linears:
            node.args = (evened[node.args[0]], made, *node.args[2:])
