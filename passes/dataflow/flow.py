"""The walk over a graph: every node's value by the rule of its operator, or as a source tensor of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.dataflow.calls import name_of
from spartanc.passes.dataflow.rules import IGNORED, Rule
from spartanc.passes.dataflow.value import Value
from spartanc.passes.index_notation import (
    Formula,
    Inexpressible,
    Leaf,
    Pick,
    Position,
    Product,
    Selection,
    Tensor,
    new_dim,
    selections,
)


@dataclass(frozen=True)
class Refusal:
    """A node at which a selection's formula ended; `progress` counts what had been found up to there."""

    node: Node
    reason: str
    selections: frozenset[Selection]
    progress: int


class Dataflow:
    """Formulas of all tensors of a program's graph.

    values: per node its `Value`; for nodes with several outputs, those stand at their `getitem`s.
    anchors: the nodes that select rows, each with its selection or the reason why it was rejected.
    """

    def __init__(
        self,
        program: ExportedProgram,
        rules: Mapping[Any, Rule],
        complete: Callable[[Node, Tensor], bool] = lambda node, tensor: False,
    ):
        self.program = program
        self._rules = rules
        self.values: dict[Node, Value] = {}
        self.tuples: dict[Node, tuple[Tensor, ...]] = {}
        self.anchors: dict[Node, Selection | str] = {}
        self.refusals: list[Refusal] = []
        self.why: dict[Node, str] = {}
        self.shorter: dict[tuple[Pick, int], Pick] = {}
        self._constants = constants_of(program)
        for node in program.graph.nodes:
            self._visit(node, complete)

    # -- the walk --------------------------------------------------------------------------------------------

    def _visit(self, node: Node, complete: Callable[[Node, Tensor], bool]) -> None:
        if node.op == "output":
            self._lose(node, "what was selected leaves the program without a memory lookup")
            return
        if node.op == "placeholder":
            if isinstance(node.meta.get("val"), torch.Tensor):
                self.source(node)
            return
        if node.op != "call_function" or node.target in IGNORED:
            return
        rule = self._rules.get(node.target)
        if rule is None:
            self.source(node, f"`{name_of(node)}` is not a step of a memory lookup")
            return
        try:
            result = rule(self, node)
        except Inexpressible as error:
            self.source(node, str(error))
            return
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # Arguments in a form that no rule foresaw: a graph is never refused for what its operators may take.
            self.source(node, f"`{name_of(node)}` with arguments that cannot be followed ({type(error).__name__})")
            return
        if result is None:
            return
        if isinstance(result, Value):
            self.values[node] = result if result.root is not None else Value(result.tensor, self.leaf(node))
        else:
            if complete(node, result):
                self.source(node)
                return
            self.values[node] = Value(result, self.leaf(node))

    def source(self, node: Node, reason: str = "") -> None:
        """The node as a source tensor; what its inputs had built up ends here."""
        if reason:
            self._lose(node, reason)
            self.why[node] = reason
        if isinstance(node.meta.get("val"), torch.Tensor):
            leaf = self.leaf(node)
            self.values[node] = Value(leaf, leaf)

    def _lose(self, node: Node, reason: str) -> None:
        for source in node.all_input_nodes:
            if source in self.values:
                self.lose(node, self.values[source].tensor.formula, reason)

    def lose(self, node: Node, formula: Formula, reason: str) -> None:
        lost = frozenset(selections(formula))
        if lost:
            progress = len(formula.factors) if isinstance(formula, Product) else 0
            self.refusals.append(Refusal(node, reason, lost, progress))

    def leaf(self, node: Node) -> Tensor:
        """A source tensor: a constant, a range, or entries that no formula says more about."""
        value = node.meta["val"]
        constant = self._constants.get(node)
        if constant is not None and constant.numel() == 1:
            return Tensor(tuple(() for _ in value.shape), Product(float(constant)))
        if constant is not None and _counts_up(constant):
            dims = tuple(new_dim(n) for n in value.shape)
            return Tensor(dims, Position(((dims[-1][0], 1),)))
        dims = tuple(new_dim(n) for n in value.shape)
        return Tensor(dims, Product(1.0, (Leaf(node, dims),)))

    # -- what the rules need -----------------------------------------------------------------------------------

    def value(self, argument: Any) -> Value:
        if isinstance(argument, Node) and argument in self.values:
            return self.values[argument]
        if isinstance(argument, bool | int | float):
            scalar = Tensor((), Product(float(argument)))
            return Value(scalar, scalar)
        raise Inexpressible("an argument is not a tensor")

    def tensor(self, argument: Any) -> Tensor:
        return self.value(argument).tensor

    def rooted(self, node: Node, sources: Sequence[Value], build: Callable[..., Tensor]) -> Tensor:
        """`build` of the formulas of two tensors, or of the tensors as sources where only that fits a lookup."""
        first, second = sources
        error = None
        for one, other in (
            (first.tensor, second.tensor),
            (first.root, second.tensor),
            (first.tensor, second.root),
            (first.root, second.root),
        ):
            try:
                result = build(one, other)
            except Inexpressible as problem:
                error = error or problem
                continue
            if _fits(result.formula):
                for source, used in ((first, one), (second, other)):
                    if used is not source.tensor:
                        self.lose(node, source.tensor.formula, "a product that is not a step of a memory lookup")
                return result
        raise error or Inexpressible("a product that is not a step of a memory lookup")


def constants_of(program: ExportedProgram) -> dict[Node, torch.Tensor]:
    """The tensors that the program holds, by placeholder."""
    signature = program.graph_signature
    targets = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    result = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in targets:
            target = targets[node.name]
            held = program.state_dict.get(target, program.constants.get(target))
            if isinstance(held, torch.Tensor):
                result[node] = held.detach()
    return result


def _counts_up(constant: torch.Tensor) -> bool:
    """Whether a constant is 0, 1, 2, ... along its last dimension, the only one longer than 1."""
    if constant.dtype not in (torch.int64, torch.int32) or constant.numel() != constant.shape[-1]:
        return False
    return bool(torch.equal(constant.flatten(), torch.arange(constant.numel(), dtype=constant.dtype)))


def _fits(formula: Formula) -> bool:
    """Whether a product can be part of a lookup: logits (two sources), or weights and at most one source."""
    if not isinstance(formula, Product):
        return True
    leaves = sum(isinstance(factor, Leaf) for factor in formula.factors)
    weights = len(formula.factors) - leaves
    return leaves <= 2 if weights == 0 else leaves <= 1 and weights <= 2
