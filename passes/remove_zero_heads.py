"""Heads of attention that a checkpoint brings as zeros go.

before:  y = linear(attention(None, linear(x, [Wq; Wk; Wv]), mask, 12), Wo, bo)
         of a head, every value is zero by its row of Wv or meets a zero column of Wo
after:   y = linear(attention(None, linear(x, [Wq; Wk; Wv] of the other heads), mask, 11), Wo[:, kept], bo + ..)

The same where queries come apart, linear(x[:, :1], Wq), and with tables of distances (`spartan::attention.relative`). A
value whose row is zero is its bias for every token, and so is what attention makes of it, whose weights add up to 1:
times its column of Wo it goes into bo.

Left alone, with the reason: zeros in no whole head, since heads are of one size, and attention that is not fused.
One head stays. Exact to the order of sums, and to the rounding of bo.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.calibration import stored_linears, stored_weights
from spartanc.passes.narrowing import Narrowed, bias_of, constant_part
from spartanc.passes.program import copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten, call

_ATTENTION = (torch.ops.spartan.attention.default, torch.ops.spartan.attention.relative)


class RemoveZeroHeads(GraphPass):
    name = "remove_zero_heads"
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        narrowed, sites = Narrowed(program), []
        linears = set(stored_linears(program))
        for node in [node for node in program.graph.nodes if node.target in _ATTENTION]:
            if not _is_between_linears(node, linears):
                continue
            gone_hd, constants_K = _values(program, node)
            kept = ~gone_hd.all(1)
            kept[0] |= not kept.any()
            if not kept.all():
                _narrow(program, node, kept, constants_K, narrowed)
                sites.append({"attention": node.name, "heads": int((~kept).sum()), "of": len(kept)})
            scattered = int(gone_hd[kept].sum())
            if scattered:
                why = f"{scattered} values of heads are zero, in no whole head: heads are of one size"
                report.skipped.append(Skipped(node.name, why))
        report.changes = len(sites)
        report.notes = {"heads": sum(site["heads"] for site in sites), "removed": sites}
        return finish(program), report


def _is_between_linears(node: Node, linears: set[Node]) -> bool:
    """Whether all that attention reads but its mask, and all that reads it, are stored linears of its own."""
    sources = [each for each in node.args[:2] if each is not None]
    alone = all(each in linears and list(each.users) == [node] for each in sources)
    return alone and all(user in linears and user.args[0] is node for user in node.users)


def _values(program: ExportedProgram, node: Node) -> tuple[Tensor, Tensor]:
    """Which values of each head are constant or read by nothing, bool [heads, d]; and constants, zero elsewhere [H]."""
    weight_NH, bias_N = stored_weights(program, node.args[1])
    width = len(weight_NH) // (3 if node.args[0] is None else 2)
    values_KH = weight_NH[-width:]
    constant_K = (values_KH == 0).all(1)
    constants_K = torch.zeros(width) if bias_N is None else bias_N[-width:] * constant_K
    unread_K = torch.ones(width, dtype=torch.bool)
    for user in node.users:
        unread_K &= (stored_weights(program, user)[0] == 0).all(0)
    return (constant_K | unread_K).unflatten(0, (node.args[3], -1)), constants_K


def _narrow(program: ExportedProgram, node: Node, kept: Tensor, constants_K: Tensor, narrowed: Narrowed) -> None:
    graph = program.graph
    query, packed, mask, heads, *others = node.args  # tables of distances, and how far they reach
    kept_K = kept.repeat_interleave(len(constants_K) // heads)
    with graph.inserting_before(node):
        values = _of_heads(program, packed, kept_K.repeat(3 if query is None else 2), narrowed)
        queries = None if query is None else _of_heads(program, query, kept_K, narrowed)
        rest = (narrowed.rows(each, kept_K) if isinstance(each, Node) else each for each in others)
        made = call(graph, node.target, (queries, values, mask, int(kept.sum()), *rest))
    for user in list(node.users):
        bias = narrowed.with_added(user, constant_part(stored_weights(program, user)[0], ~kept_K, constants_K))
        user.args = (made, narrowed.last(user.args[1], kept_K), bias)


def _of_heads(program: ExportedProgram, linear: Node, kept_N: Tensor, narrowed: Narrowed) -> Node:
    bias = bias_of(linear)
    weight = narrowed.rows(linear.args[1], kept_N)
    return call(program.graph, aten.linear.default, (linear.args[0], weight, bias and narrowed.rows(bias, kept_N)))
