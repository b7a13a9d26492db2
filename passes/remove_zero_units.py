"""Units between two linears that a checkpoint brings as zeros go; the matrices on both sides become narrower.

before:  h = linear(x, W1[K, H], b1)              row k of W1 is zero, or column k of W2 is
         y = linear(f(h), W2[N, K], b2)           f pointwise: one operator or several, with vectors [K] too, also of
                                                  two linears (f(gate) * up)
after:   h = linear(x, W1[kept], b1[kept])
         y = linear(f(h), W2[:, kept], b2 + W2[:, gone] · f(b1)[gone])

A unit whose row is zero is the constant f(b1[k]) whatever the text; one that meets zeros in every linear that reads it
is nothing. Widths stay multiples of 16, the outputs that kernels compute together; zeros fill the last ones up.

Left alone, with the reason: whole zero rows or columns of linears that are no such pair, weights that are computed,
and the linear that gives the logits, which is a task's own. Zeros in no whole unit (N:M, unstructured) stay as dense as
they came, and the report says how many. Exact to the order of sums, and to the rounding of b2.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg

from spartanc.passes.calibration import stored_linears, stored_weights
from spartanc.passes.narrowing import Narrowed, bias_of, constant_part
from spartanc.passes.program import constant_tensor, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import POINTWISE, aten, call

# Outputs that every int8 kernel, ours and XNNPACK's, computes together: a narrower last block takes as long as a whole
# one. Ours take inputs by 64, but pad them themselves.
WIDTH = 16
WORTH_SAYING = 0.01  # share of zeros in linears from which on the report names it


@dataclass(frozen=True)
class _Pair:
    """Linears, what is pointwise between, and the linears that read it; `vectors` are constants [K] between."""

    producers: list[Node]
    between: list[Node]
    vectors: list[Node]
    consumers: list[Node]


class _Unfit(Exception):
    """Why zeros stay, in words for the report."""


class RemoveZeroUnits(GraphPass):
    name = "remove_zero_units"
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        narrowed, linears = Narrowed(program), dict.fromkeys(stored_linears(program))
        sites: list[dict[str, Any]] = []
        fed: set[Node] = set()  # linears whose outputs are units of a pair
        for node in linears:
            try:
                pair = _pair_before(program, node, linears)
            except _Unfit as unfit:
                report.skipped += _zeros_of(program, node, 0, "columns", str(unfit))
                continue
            fed.update(pair.producers)
            if pair.consumers[0] is not node:
                continue  # done with the first of the linears that read it
            gone, nothing = _units(program, pair)
            kept = _kept_units(gone, nothing)
            if kept.all():
                if gone.any():
                    fewer = f"{int(gone.sum())} of {len(gone)} units are zero: too few to leave fewer blocks of {WIDTH}"
                    report.skipped.append(Skipped(node.name, fewer))
                continue
            _narrow(program, pair, kept, narrowed)
            removed = int((~kept).sum())
            sites.append({"linear": node.name, "units": removed, "of": len(kept), "left": len(kept) - removed})
        for node in linears:
            if node not in fed:
                readers = ", ".join(sorted({f"`{user.target}`" for user in node.users}))
                report.skipped += _zeros_of(program, node, 1, "rows", f"{readers} reads them, not a linear alone")
        report.changes = len(sites)
        report.notes = {"units": sum(site["units"] for site in sites), "removed": sites}
        program = finish(program)
        _say_zeros(program, report)
        return program, report


def _pair_before(program: ExportedProgram, consumer: Node, linears: Collection[Node]) -> _Pair:
    """The pair whose second linear is `consumer`; _Unfit where what it reads is none."""
    width = _width(consumer.args[0])
    producers, between, vectors = set(), set(), set()
    waiting = [consumer.args[0]]
    while waiting:
        node = waiting.pop()
        if node in linears:
            producers.add(node)
        elif node.target in POINTWISE:
            between.add(node)
            waiting += [each for each in node.all_input_nodes if _width(each) == width]
        elif (constant := constant_tensor(program, node)) is not None and constant.numel() == width:
            vectors.add(node)
        else:
            raise _Unfit(f"what it reads comes from `{node.target}`, not from a linear")
    consumers = set()
    for node in producers | between:
        for user in node.users:
            if user in linears and user.args[0] is node:
                consumers.add(user)
            elif user not in between:
                raise _Unfit(f"`{user.target}` reads `{node.name}` too")

    def ordered(nodes: set[Node]) -> list[Node]:
        return [node for node in program.graph.nodes if node in nodes]

    return _Pair(ordered(producers), ordered(between), ordered(vectors), ordered(consumers))


def _width(node: Node) -> int:
    """The size of the last dimension; 1 of a number, 0 where it is the text's length."""
    value = node.meta.get("val")
    size = value.shape[-1] if isinstance(value, Tensor) and value.dim() else 1
    return size if isinstance(size, int) else 0


def _units(program: ExportedProgram, pair: _Pair) -> tuple[Tensor, Tensor]:
    """bool [K] each: units that may go, and those among them that are nothing and so need no bias."""
    constant = _constants(program, pair)
    gone, nothing = torch.tensor(True), torch.tensor(True)
    for consumer in pair.consumers:
        unread_K = (stored_weights(program, consumer)[0] == 0).all(0)
        is_constant_K, value_K = constant[consumer.args[0]]
        gone = gone & (unread_K | is_constant_K)
        nothing = nothing & (unread_K | (is_constant_K & (value_K == 0)))
    return gone, nothing


def _constants(program: ExportedProgram, pair: _Pair) -> dict[Node, tuple[Tensor, Tensor]]:
    """Of every step of a pair, which units are the same for every text (bool [K]), and what these are (float [K])."""
    found: dict[Node, tuple[Tensor, Tensor]] = {}
    for node in pair.producers:
        weight_KH, bias_K = stored_weights(program, node)
        value_K = torch.zeros(len(weight_KH)) if bias_K is None else bias_K
        found[node] = (weight_KH == 0).all(1), value_K
    width = len(next(iter(found.values()))[0])
    everywhere, nowhere = torch.ones(width, dtype=torch.bool), torch.zeros(width, dtype=torch.bool)

    def of(node: Node) -> tuple[Tensor, Tensor]:
        if node not in found:
            constant = constant_tensor(program, node)
            known = constant is not None and constant.numel() == _width(node)
            value = torch.ones(width) if constant is None or not known else constant.detach().flatten()
            found[node] = (everywhere if known else nowhere), value
        return found[node]

    for node in pair.between:
        operands = [of(each) for each in node.all_input_nodes]
        with torch.no_grad():
            arguments = map_arg((node.args, node.kwargs), lambda each: of(each)[1])
            value_K = node.target(*arguments[0], **arguments[1]).expand(width)
        known_K = everywhere
        for is_constant_K, _ in operands:
            known_K = known_K & is_constant_K
        if node.target is aten.mul.Tensor:
            for is_constant_K, factor_K in operands:  # zero times whatever
                zero_K = is_constant_K & (factor_K == 0)
                known_K, value_K = known_K | zero_K, value_K.masked_fill(zero_K, 0)
        found[node] = known_K & value_K.isfinite(), value_K
    return found


def _kept_units(gone_K: Tensor, nothing_K: Tensor) -> Tensor:
    """bool [K]: units that stay, a multiple of WIDTH or all; as many of `gone_K` as that takes are among them."""
    count = int((~gone_K).sum())
    wanted = max(-(-count // WIDTH), 1) * WIDTH
    # What is a constant, and not nothing, stays first: its part in the bias would be rounded once more.
    order = torch.argsort(gone_K.int() + (gone_K & nothing_K).int(), stable=True)
    kept_K = torch.zeros_like(gone_K)
    kept_K[order[:wanted]] = True
    return kept_K


def _narrow(program: ExportedProgram, pair: _Pair, kept: Tensor, narrowed: Narrowed) -> None:
    constants = _constants(program, pair)
    graph = program.graph
    narrow: dict[Node, Node] = {node: narrowed.last(node, kept) for node in pair.vectors}
    for node in pair.producers:
        bias = bias_of(node)
        with graph.inserting_before(node):
            arguments = (node.args[0], narrowed.rows(node.args[1], kept), bias and narrowed.rows(bias, kept))
            narrow[node] = call(graph, aten.linear.default, arguments)
    for node in pair.between:
        with graph.inserting_before(node):
            given = map_arg((node.args, node.kwargs), lambda each: narrow.get(each, each))
            narrow[node] = call(graph, node.target, *given)
    for node in pair.consumers:
        is_constant_K, value_K = constants[node.args[0]]
        moved_N = constant_part(stored_weights(program, node)[0], ~kept & is_constant_K, value_K)
        bias = narrowed.with_added(node, moved_N)
        node.args = (narrow[node.args[0]], narrowed.last(node.args[1], kept), bias)


def _zeros_of(program: ExportedProgram, node: Node, dim: int, what: str, reason: str) -> list[Skipped]:
    """That a linear has whole zeros along `dim`, if it has any."""
    along = (stored_weights(program, node)[0] == 0).all(dim)
    return [Skipped(node.name, f"{int(along.sum())} of {len(along)} {what} are zero: {reason}")] if along.any() else []


def _say_zeros(program: ExportedProgram, report: PassReport) -> None:
    weights = [stored_weights(program, node)[0] for node in stored_linears(program)]
    zeros, count = sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)
    share = zeros / max(count, 1)
    report.notes["zero_share_left"] = round(share, 4)
    if share >= WORTH_SAYING:
        report.notes["zeros_left"] = f"{share:.0%} of the linears' weights are zero, in no whole unit: they stay dense"
