"""Find SPARTAN's memory in an exported graph and replace it by one operator, `spartan::memory_lookup`.

Source: arXiv 2211.16634, section 3; the operator's definition is in `spartanc.passes.ops.memory_lookup`.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.dataflow import RULES, SMALLEST, THRESHOLD, Dataflow, leads_to_threshold
from spartanc.passes.index_notation import Dim, Leaf, Product, Selection, Tensor, selections
from spartanc.passes.memory_formula import Mismatch, Site, match
from spartanc.passes.memory_rewrite import refused, replace_by_operator
from spartanc.passes.program import copy_program, finish, functional
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped


class FusionReport(PassReport):
    @property
    def fused(self) -> int:
        return self.changes


class FuseMemories(GraphPass):
    """Parent selection, child gather, both softmaxes and the weighted sum, as one operator.

    Before, in either published form or any other spelling of the same formula:

        p = x @ parents.T                   p = x @ parents.T
        p[the E-K smallest] = -inf          p_S, S = topk(p, K)
        a = softmax(p)                      a = softmax(p_S)
        b = softmax((x @ keys.T / T)        b = softmax(x · keys[S] / T)
                    .view(.., E, C))
        y = (b * a).view(.., M) @ values    y = sum(a * sum(b * values[S]))

    After:

        y = spartan::memory_lookup(x, parents, keys, values, K, T)

    What computes y is compared as a formula (`index_notation`), so it does not matter whether it is spelt with
    linear, matmul or einsum, with gather or indexing, in which order weights are multiplied, where the temperature
    is applied, or how keys are shaped. Each match is computed once on random numbers and compared with the operator.

    Left alone, with node and reason: an intermediate that something else reads too; a softmax over a wrong axis;
    cells read at the rows that another selection chose, keys and values read at different rows; a threshold in place
    of a top-K, which lets ties choose more than K; the smallest in place of the largest; weights of the parents
    normalised over all of them; a bias; a temperature that is not one positive constant; another type than fp32;
    cells that are not stored parent by parent.
    """

    name = "fuse_memories"
    provides = frozenset({Property.MEMORIES_FUSED})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, FusionReport]:
        program = copy_program(functional(program))
        matcher = _Matcher(program)
        for site in matcher.sites:
            site.same_x = matcher.rearranged(site.x)
        report = FusionReport(self.name)
        # All are judged before the first is replaced: one may read what another one computes.
        judged = [(site, refused(program, site)) for site in matcher.sites]
        replaced: dict[Node, Node] = {}
        for site, reason in judged:
            if reason is not None:
                report.skipped.append(Skipped(reason.node, reason.reason))
                continue
            site.x = replaced.get(site.x, site.x)
            replaced |= replace_by_operator(program, site)
            report.changes += 1
        report.skipped.extend(matcher.skipped())
        return finish(program) if report.changes else program, report

    def holds(self, program: ExportedProgram) -> str | None:
        matcher = _Matcher(program)
        for site in matcher.sites:
            site.same_x = matcher.rearranged(site.x)
        usable = [site for site in matcher.sites if refused(program, site) is None]
        return None if not usable else f"a memory is left at `{usable[0].node.name}`"


def fuse_memories(program: ExportedProgram) -> tuple[ExportedProgram, FusionReport]:
    """`program` with every memory in it as one operator, and what was fused and what was left alone.

    Works on any exported program, with static or dynamic shapes; `program` itself stays as it is.
    """
    return FuseMemories().run(program)


class _Matcher:
    """All memories of a program, and the selections in it that belong to none."""

    def __init__(self, program: ExportedProgram):
        self.sites: list[Site] = []
        self.mismatches: dict[Node, tuple[frozenset[Selection], str]] = {}
        self.flow = Dataflow(program, RULES, self._complete)

    def _complete(self, node: Node, tensor: Tensor) -> bool:
        if node.meta["val"].dtype != torch.float32:
            return False
        try:
            site = match(node, tensor)
        except Mismatch:
            return False
        if site is None:
            return False
        self.sites.append(site)
        return True

    def rearranged(self, x: Node) -> frozenset[Node]:
        """The nodes that hold nothing but `x`, in another layout or times a constant."""
        return frozenset(
            node
            for node, value in self.flow.values.items()
            if isinstance(value.tensor.formula, Product)
            and [f.node for f in value.tensor.formula.factors if isinstance(f, Leaf)] == [x]
            and len(value.tensor.formula.factors) == 1
            and not list(selections(value.tensor.formula))
        )

    def skipped(self) -> list[Skipped]:
        """One entry for every selection that ended up in no memory."""
        in_site = frozenset[Selection]().union(*(site.selections for site in self.sites))
        result: dict[tuple[str, str], Skipped] = {}
        for node, anchor in self.flow.anchors.items():
            if isinstance(anchor, str):
                entry = Skipped(node.name, anchor)
            elif anchor in in_site or anchor.chosen in in_site or _longer(anchor) in map(_longer, in_site):
                continue
            else:
                entry = self._why(node, anchor)
            result.setdefault((entry.node, entry.reason), entry)
        return list(result.values())

    def _why(self, node: Node, anchor: Selection) -> Skipped:
        lost = [
            refusal
            for refusal in self.flow.refusals
            if any(_longer(s) == _longer(anchor) or s.chosen == anchor for s in refusal.selections)
        ]
        if not lost:
            return Skipped(node.name, "what is selected is not used for a memory lookup")
        telling = [r for r in lost if r.reason in (THRESHOLD, SMALLEST)]
        refusal = telling[0] if telling else max(lost, key=lambda r: r.progress)
        if not telling and leads_to_threshold(refusal.node):
            return Skipped(refusal.node.name, THRESHOLD)
        for source in refusal.node.all_input_nodes:
            value = self.flow.values.get(source)
            if value is None or not isinstance(value.tensor.formula, Product):
                continue
            if len(value.tensor.formula.factors) < 3:
                continue
            try:
                match(source, value.tensor, self.flow)
            except Mismatch as mismatch:
                return Skipped(source.name, str(mismatch))
        return Skipped(refusal.node.name, refusal.reason)


def _longer(selection: Selection) -> tuple[Product, Dim]:
    """Rankings of one vector, whatever their length."""
    return selection.logits, selection.over
