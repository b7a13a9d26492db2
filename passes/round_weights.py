"""Weights are put on the grid of their scales by second-order information, and biases take up what is left.

before:  linear(x, W, b)
after:   linear(x, W', b')                    W' = integers times scales of W; what quantises linears finds them

Rounding to the nearest treats every weight alone. Here the error of one weight is made up for by those after it,
weighted by how inputs go together: H = mean of x' x'^T over the positions of the texts given, x' as rounded to 8 bits.
Largest channels come first. Source: GPTQ, arXiv 2210.17323, section 3, with the means of x taken out of H and given to
the bias, since a mean costs nothing there.

A weight that several linears read stays one weight, fitted to what all of them read (ALBERT).

Scales are chosen before, from W (`weight_grids`). In 8 bits an output's largest weight keeps its place, so that its
scale is found again; in 4 bits errors count by the size of the inputs, and any weights lead back to their scales.

Judged end to end, by labels and accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.calibration import Inputs, by_weight, see_inputs, stored_linears, stored_weights
from spartanc.passes.ops.linear_int8 import rounded_inputs
from spartanc.passes.program import add_constant, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport
from spartanc.passes.weight_grids import INT8, WeightGrid, grid_of

# Parts of H's mean diagonal that are added to all of it: always, and as often as a position would have to stand for
# several inputs. Fitted to few texts, weights would be right for these texts alone.
DAMPING, OF_FEW_POSITIONS = 0.01, 0.25
_BLOCK = 128  # columns whose errors are passed on together


@dataclass
class Moments:
    """Sums over positions of what one linear reads.

    rounded [K]: of inputs rounded to 8 bits; exact [K]: of inputs as they are; products [K, K]: of pairs of rounded
    ones; count: positions.
    """

    rounded: Tensor
    exact: Tensor
    products: Tensor
    count: int = 0

    @classmethod
    def zeros(cls, inputs: int) -> Moments:
        return cls(torch.zeros(inputs), torch.zeros(inputs), torch.zeros(inputs, inputs))

    @classmethod
    def together(cls, parts: Sequence[Moments]) -> Moments:
        """Of all positions of `parts`."""
        first, *others = parts
        if not others:
            return first
        found = cls(first.rounded.clone(), first.exact.clone(), first.products.clone(), first.count)
        for each in others:
            found.rounded += each.rounded
            found.exact += each.exact
            found.products += each.products
            found.count += each.count
        return found

    def add(self, rows_RK: Tensor) -> None:
        rounded_RK = rounded_inputs(rows_RK)
        self.rounded += rounded_RK.sum(0)
        self.exact += rows_RK.sum(0)
        self.products.addmm_(rounded_RK.t(), rounded_RK)
        self.count += len(rows_RK)


class RoundWeights(GraphPass):
    name = "round_weights"
    tolerance = float("inf")  # judged end to end: by labels and accuracy, never by logits

    def __init__(self, inputs: Inputs, grid: WeightGrid = INT8):
        """inputs: texts as the program takes them. grid: what weights become."""
        self._inputs = inputs
        self._grid = grid

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        nodes = stored_linears(program)
        moments: dict[Node, Moments] = {}  # by what is read
        readers = {node.args[0]: node for node in reversed(nodes)}  # of all that read one input, the first

        def add(node: Node, rows_RK: Tensor) -> None:
            if node.args[0] not in moments:
                moments[node.args[0]] = Moments.zeros(rows_RK.shape[1])
            moments[node.args[0]].add(rows_RK)

        see_inputs(program, list(readers.values()), self._inputs, add)
        for number, linears in enumerate(by_weight(nodes)):
            inputs = dict.fromkeys(node.args[0] for node in linears)
            seen = Moments.together([moments[x] for x in inputs])
            weight_NK, _ = stored_weights(program, linears[0])
            rounded_NK, moved_N = round_to_grid(weight_NK, seen, grid_of(self._grid, weight_NK))
            weight = add_constant(program, f"rounded_{number}_weight", rounded_NK, InputKind.CONSTANT_TENSOR)
            biases: dict[Node | None, Node] = {}
            for node in linears:
                stored = node.args[2] if len(node.args) > 2 else None
                if stored not in biases:
                    _, bias_N = stored_weights(program, node)
                    bias_N = moved_N if bias_N is None else bias_N + moved_N
                    name = f"rounded_{number}_bias" + (f"_{len(biases)}" if biases else "")
                    biases[stored] = add_constant(program, name, bias_N, InputKind.CONSTANT_TENSOR)
                node.args = (node.args[0], weight, biases[stored])
                report.changes += 1
        return finish(program), report


def round_to_grid(weight_NK: Tensor, moments: Moments, grid: WeightGrid = INT8) -> tuple[Tensor, Tensor]:
    """`weight_NK` on `grid`, and what the bias [N] has to be moved by.

    The mean of every output over the positions of `moments` is then what it was before inputs and weights were rounded.
    """
    mean_K = (moments.rounded / moments.count).double()
    covariance_KK = (moments.products / moments.count).double() - torch.outer(mean_K, mean_K)
    damping = DAMPING + OF_FEW_POSITIONS * weight_NK.shape[1] / moments.count
    rounded_NK = _fit(weight_NK.double(), grid, covariance_KK, damping)
    exact_N = weight_NK.double() @ (moments.exact / moments.count).double()
    return rounded_NK.float(), (exact_N - rounded_NK @ mean_K).float()


def _fit(weight_NK: Tensor, grid: WeightGrid, covariance_KK: Tensor, damping: float) -> Tensor:
    spread_K = covariance_KK.diagonal().clamp(min=0)
    order = torch.argsort(spread_K, descending=True, stable=True)
    damped_KK = covariance_KK[order][:, order]
    damped_KK.diagonal().copy_(spread_K[order] + damping * spread_K.mean() + torch.finfo(torch.float32).tiny)
    factor_KK = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped_KK)), upper=True)
    importance_K = spread_K + damping * spread_K.mean()
    scale_NK = grid.spread(grid.scales(weight_NK, importance_K), weight_NK.shape[1])[:, order]
    left_NK, rounded_NK = weight_NK[:, order].clone(), torch.empty_like(weight_NK)
    pinned_N = left_NK.abs().argmax(1) if grid.group is None else torch.full((len(left_NK),), -1)
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        block_NK, errors_NK = left_NK[:, start:stop], torch.empty_like(left_NK[:, start:stop])
        for k in range(stop - start):
            column_N, scale_N = block_NK[:, k], scale_NK[:, start + k]
            kept_N = torch.where(pinned_N == start + k, weight_NK[:, order[start + k]], column_N)
            rounded_N = (kept_N / scale_N).round().clamp(grid.lowest, grid.highest) * scale_N
            rounded_NK[:, order[start + k]] = rounded_N
            errors_NK[:, k] = (column_N - rounded_N) / factor_KK[start + k, start + k]
            block_NK[:, k + 1 :].addr_(errors_NK[:, k], factor_KK[start + k, start + k + 1 : stop], alpha=-1)
        left_NK[:, stop:].addmm_(errors_NK, factor_KK[start:stop, stop:], alpha=-1)
    return rounded_NK
