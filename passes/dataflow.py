"""What every node of an exported graph computes, as formulas of `index_notation`.

`Dataflow(program)` walks the graph once, forward. A node whose operator it can express gets the formula of its
inputs' formulas; any other becomes a source tensor of its own, and `refusals` keeps why, if a selection of rows
(topk, sort) was lost by it. Operators are told apart by their targets, tensors by their shapes; names play no part.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.index_notation import (
    Chosen,
    Digit,
    Dim,
    Formula,
    Inexpressible,
    Leaf,
    Masked,
    Membership,
    OneHot,
    Pick,
    Position,
    Product,
    Restricted,
    Selection,
    Softmax,
    Tensor,
    contract,
    depends,
    new_dim,
    regroup,
    selections,
    size,
    size_of,
    substitute,
    summed,
    unify,
)

aten = torch.ops.aten

# A mask's filling that leaves exactly nothing after a softmax in fp32, whatever the logits of a trained model are.
LOWEST_FILL = -1e9

THRESHOLD = "a threshold in place of a top-K: ties would choose more than K"
NOT_NORMALISED = "the parents' weights are not normalised over the chosen parents only"
SMALLEST = "the smallest are chosen, not the largest"
WRONG_AXIS = "softmax over a wrong axis: it does not run over the chosen parents"


@dataclass(frozen=True)
class Refusal:
    """A node at which a selection's formula ended; `progress` counts what had been found up to there."""

    node: Node
    reason: str
    selections: frozenset[Selection]
    progress: int


@dataclass(frozen=True)
class Value:
    """A node's formula, and the same tensor seen from the last node that computes rather than rearranges."""

    tensor: Tensor
    root: Tensor | None


class Dataflow:
    """Formulas of all tensors of a program's graph.

    values: per node its `Value`; for nodes with several outputs, those stand at their `getitem`s.
    anchors: the nodes that select rows, with their selection, or with why it is none.
    """

    def __init__(self, program: ExportedProgram, complete: Callable[[Node, Tensor], bool] = lambda node, tensor: False):
        self.program = program
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
                self._source(node)
            return
        if node.op != "call_function" or node.target in _IGNORED:
            return
        rule = _RULES.get(node.target)
        if rule is None:
            self._source(node, f"`{_name(node)}` is not a step of a memory lookup")
            return
        try:
            result = rule(self, node)
        except Inexpressible as error:
            self._source(node, str(error))
            return
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # Arguments in a form that no rule foresaw: a graph is never refused for what its operators may take.
            self._source(node, f"`{_name(node)}` with arguments that cannot be followed ({type(error).__name__})")
            return
        if result is None:
            return
        if isinstance(result, Value):
            self.values[node] = result if result.root is not None else Value(result.tensor, self._leaf(node))
        else:
            if complete(node, result):
                self._source(node)
                return
            self.values[node] = Value(result, self._leaf(node))

    def _source(self, node: Node, reason: str = "") -> None:
        """The node as a source tensor; what its inputs had built up ends here."""
        if reason:
            self._lose(node, reason)
            self.why[node] = reason
        if isinstance(node.meta.get("val"), torch.Tensor):
            leaf = self._leaf(node)
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

    def _leaf(self, node: Node) -> Tensor:
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


def _name(node: Node) -> str:
    return str(getattr(node.target, "_opname", None) or getattr(node.target, "__name__", node.target))


def _argument(node: Node, position: int, name: str, default: Any = None) -> Any:
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def _axis(tensor: Tensor, dim: int) -> int:
    return dim % max(len(tensor.dims), 1)


def _shape(node: Node) -> tuple[sympy.Expr, ...]:
    return tuple(size_of(n) for n in node.meta["val"].shape)


def _both(value: Value, change: Callable[[Tensor], Tensor]) -> Value:
    """A rearrangement, which changes both views of a tensor; where it cannot, the result is a source of its own."""
    tensor = change(value.tensor)
    try:
        return Value(tensor, None if value.root is None else change(value.root))
    except Inexpressible:
        return Value(tensor, None)


def logits_ratio(tensor: Tensor, axis: int, selection: Selection) -> float | None:
    """By how much `tensor` is a selection's logits with dimension `axis` as their rows; None if it is not."""
    if not isinstance(tensor.formula, Product) or size(tensor.dims[axis]) != size(selection.over):
        return None
    return _ratio(tensor.formula, tensor.dims[axis], selection)


def _ratio(formula: Product, index: Dim, selection: Selection) -> float | None:
    if len(selection.over) > 1:
        return None
    expected = selection.logits
    if selection.over:
        digit = selection.over[0]
        assert isinstance(digit, Digit)
        expected = substitute(expected, digit, index)
    if replace(expected, coefficient=1.0) != replace(formula, coefficient=1.0):
        return None
    ratio = formula.coefficient / selection.logits.coefficient
    return ratio if ratio > 0 else None


# -- rearrangements --------------------------------------------------------------------------------------------


def _view(flow: Dataflow, node: Node) -> Value:
    shape = _shape(node)
    return _both(flow.value(node.args[0]), lambda t: Tensor(regroup(t.dims, shape), t.formula))


def _copy(flow: Dataflow, node: Node) -> Value:
    source = node.args[0]
    assert isinstance(source, Node)
    if source.meta["val"].dtype != node.meta["val"].dtype:
        return _cast(flow, node)
    return flow.value(source)


def _cast(flow: Dataflow, node: Node) -> Value:
    tensor = flow.tensor(node.args[0])
    if isinstance(tensor.formula, Product) and tensor.formula.factors:
        raise Inexpressible(f"a cast to {node.meta['val'].dtype}")
    result = _pointwise(node.meta["val"].dtype, lambda v: v, tensor)
    return Value(result, flow._leaf(node))


def _dropout(flow: Dataflow, node: Node) -> Value:
    if _argument(node, 2, "train"):
        raise Inexpressible("dropout in training mode")
    return flow.value(node.args[0])


def _permuted(order: Callable[[Node, int], Sequence[int]]) -> Callable[[Dataflow, Node], Value]:
    def rule(flow: Dataflow, node: Node) -> Value:
        value = flow.value(node.args[0])
        dims = order(node, len(value.tensor.dims))
        return _both(value, lambda t: Tensor(tuple(t.dims[d] for d in dims), t.formula))

    return rule


def _swap(rank: int, a: int, b: int) -> list[int]:
    order = list(range(rank))
    if rank:
        order[a], order[b] = order[b], order[a]
    return order


def _moved(node: Node, rank: int) -> list[int]:
    def listed(dims):
        return [d % rank for d in ([dims] if isinstance(dims, int) else dims)]

    source, destination = listed(node.args[1]), listed(node.args[2])
    order: list[int | None] = [None] * rank
    for s, d in zip(source, destination, strict=True):
        order[d] = s
    rest = iter(d for d in range(rank) if d not in source)
    return [next(rest) if d is None else d for d in order]


def _expand(flow: Dataflow, node: Node) -> Value:
    shape = _shape(node)

    def change(tensor: Tensor) -> Tensor:
        dims = (None,) * (len(shape) - len(tensor.dims)) + tensor.dims
        result = []
        for dim, n in zip(dims, shape, strict=True):
            result.append(dim if dim else new_dim(n))
            if size(result[-1]) != n:
                raise Inexpressible("a repetition that is not a broadcast")
        return Tensor(tuple(result), tensor.formula)

    return _both(flow.value(node.args[0]), change)


def _slice(flow: Dataflow, node: Node) -> Value | Tensor:
    value = flow.value(node.args[0])
    source = node.args[0]
    assert isinstance(source, Node)
    if _shape(source) == _shape(node):
        return value
    tensor = value.tensor
    axis = _axis(tensor, _argument(node, 1, "dim", 0))
    start, step = _argument(node, 2, "start", None) or 0, _argument(node, 4, "step", 1)
    length = _shape(node)[axis]
    dim = tensor.dims[axis]
    ranks = [s for s in selections(tensor.formula)]
    if start == 0 and step == 1 and length.is_Integer and len(dim) == 1 and ranks:
        return _first(flow, tensor, axis, int(length))
    if ranks:
        raise Inexpressible("single entries of a top-K are taken out of it")
    raise Inexpressible("a slice")


def _first(flow: Dataflow, tensor: Tensor, axis: int, count: int) -> Tensor:
    """The first entries of a ranking: a ranking of fewer."""
    dim = tensor.dims[axis]
    pick = _pick_of(tensor.formula)
    if pick is None or pick.rank != dim:
        raise Inexpressible("a slice")
    shorter = flow.shorter.setdefault(
        (pick, count), Pick(replace(pick.selection, count=count), new_dim(count), pick.size)
    )
    dims = (*tensor.dims[:axis], shorter.rank, *tensor.dims[axis + 1 :])
    return Tensor(dims, _replace_pick(tensor.formula, pick, shorter))


def _pick_of(formula: Formula) -> Pick | None:
    if isinstance(formula, Position) and len(formula.terms) == 1 and isinstance(formula.terms[0][0], Pick):
        return formula.terms[0][0]
    if isinstance(formula, Product):
        found = {
            p for f in formula.factors if isinstance(f, Leaf) for dim in f.index for p in dim if isinstance(p, Pick)
        }
        if len(found) == 1:
            return found.pop()
    return None


def _replace_pick(formula: Formula, old: Pick, new: Pick) -> Formula:
    def dim(d: Dim) -> Dim:
        return tuple(new if index == old else index for index in d)

    if isinstance(formula, Position):
        return Position(tuple((new if index == old else index, stride) for index, stride in formula.terms))
    assert isinstance(formula, Product)
    factors = tuple(Leaf(f.node, tuple(dim(d) for d in f.index)) if isinstance(f, Leaf) else f for f in formula.factors)
    return replace(formula, factors=factors)


def _select(flow: Dataflow, node: Node) -> Value | Tensor:
    value = flow.value(node.args[0])
    axis = _axis(value.tensor, _argument(node, 1, "dim", 0))
    if value.tensor.dims[axis] == ():
        return _both(value, lambda t: Tensor(t.dims[:axis] + t.dims[axis + 1 :], t.formula))
    if _argument(node, 2, "index", 0) == 0 and _pick_of(value.tensor.formula) is not None:
        first = _first(flow, value.tensor, axis, 1)
        return Tensor(first.dims[:axis] + first.dims[axis + 1 :], first.formula)
    raise Inexpressible("single entries of a top-K are taken out of it")


# -- constants and pointwise arithmetic ---------------------------------------------------------------------------


def _filled(number: Callable[[Dataflow, Node], Any]) -> Callable[[Dataflow, Node], Tensor]:
    def rule(flow: Dataflow, node: Node) -> Tensor:
        amount = number(flow, node)
        if isinstance(amount, Node):
            formula = flow.tensor(amount).formula
            if not isinstance(formula, Product) or formula.factors:
                raise Inexpressible("a fill that is not a constant")
            amount = formula.coefficient
        return Tensor(tuple(new_dim(n) for n in _shape(node)), Product(float(amount)))

    return rule


def _arange(flow: Dataflow, node: Node) -> Tensor:
    numbers = [a for a in node.args if isinstance(a, int)]
    begins = node.target is aten.arange.default or numbers[0] == 0
    if not begins or (node.target is aten.arange.start_step and len(node.args) > 2 and node.args[2] != 1):
        raise Inexpressible("a range that does not count from 0")
    (dim,) = (new_dim(n) for n in _shape(node))
    return Tensor((dim,), Position(tuple((index, 1) for index in dim)))


def _pointwise(dtype: torch.dtype, function: Callable[..., Any], *tensors: Tensor) -> Tensor:
    """A pointwise operator of constants and of at most one mask, computed by torch itself on their few values."""
    masks = [t.formula for t in tensors if isinstance(t.formula, Membership)]
    if len(masks) > 1 or any(
        not isinstance(t.formula, Membership) and (not isinstance(t.formula, Product) or t.formula.factors)
        for t in tensors
    ):
        raise Inexpressible("arithmetic that is not a step of a memory lookup")

    def result(inside: bool) -> float:
        numbers = []
        for t in tensors:
            if isinstance(t.formula, Membership):
                numbers.append(t.formula.inside if inside else t.formula.outside)
            else:
                assert isinstance(t.formula, Product)
                numbers.append(t.formula.coefficient)
        return float(torch.as_tensor(function(*numbers)).to(dtype))

    dims = _broadcast(tensors)
    if masks:
        return Tensor(dims, replace(masks[0], inside=result(True), outside=result(False)))
    return Tensor(dims, Product(result(True)))


def _broadcast(tensors: Sequence[Tensor]) -> tuple[Dim, ...]:
    """Dimensions of a pointwise result of which at most one operand depends on any index."""
    rank = max((len(t.dims) for t in tensors), default=0)
    result: list[Dim] = [()] * rank
    for tensor in sorted(tensors, key=lambda t: isinstance(t.formula, Membership)):
        for at, dim in enumerate(tensor.dims, rank - len(tensor.dims)):
            if dim != ():
                result[at] = dim
    return tuple(result)


def _constant(tensor: Tensor) -> float | None:
    if isinstance(tensor.formula, Product) and not tensor.formula.factors:
        return tensor.formula.coefficient
    return None


def _aligned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two operands of a pointwise operator with the same rank and the same variables."""
    rank = max(len(a.dims), len(b.dims))
    a = replace(a, dims=((),) * (rank - len(a.dims)) + a.dims)
    b = replace(b, dims=((),) * (rank - len(b.dims)) + b.dims)
    for at in range(rank):
        if a.dims[at] != () and b.dims[at] != ():
            a, b = unify(a, b, at, at)
    return a, b


def _together(a: Tensor, b: Tensor) -> tuple[Dim, ...]:
    return tuple(x if x != () else y for x, y in zip(a.dims, b.dims, strict=True))


def _scaled(flow: Dataflow, node: Node, number: float, of: Value, by: Tensor) -> Value:
    """A tensor times a constant: like a rearrangement, it leaves both views of it known."""
    if number == 0 or not math.isfinite(number):
        raise Inexpressible(f"a product with {number}")
    return _both(of, lambda t: Tensor(_together(*_padded(t, by)), t.scaled(number).formula))


def _padded(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    rank = max(len(a.dims), len(b.dims))
    return (
        replace(a, dims=((),) * (rank - len(a.dims)) + a.dims),
        replace(b, dims=((),) * (rank - len(b.dims)) + b.dims),
    )


def _mul(flow: Dataflow, node: Node) -> Value | Tensor:
    first, second = flow.value(node.args[0]), flow.value(node.args[1])
    numbers = _constant(first.tensor), _constant(second.tensor)
    for one, other in ((first.tensor, second.tensor), (second.tensor, first.tensor)):
        if isinstance(one.formula, Membership) and _constant(other) is None:
            return _restricted(one, other)
    if all(n is not None for n in numbers) or any(isinstance(v.tensor.formula, Membership) for v in (first, second)):
        return _pointwise(node.meta["val"].dtype, operator.mul, first.tensor, second.tensor)
    if any(isinstance(v.tensor.formula, Position) for v in (first, second)):
        return _position(operator.mul, first.tensor, second.tensor)
    if numbers[0] is not None:
        return _scaled(flow, node, numbers[0], second, first.tensor)
    if numbers[1] is not None:
        return _scaled(flow, node, numbers[1], first, second.tensor)
    labels = [f"d{at}" for at in range(len(_shape(node)))]

    def build(a: Tensor, b: Tensor) -> Tensor:
        a, b = _padded(a, b)
        return contract(a, labels, b, labels, labels)

    return flow.rooted(node, (first, second), build)


def _restricted(mask: Tensor, weights: Tensor) -> Tensor:
    """softmax over all parents, kept at the chosen ones."""
    mask, weights = _aligned(mask, weights)
    member, formula = mask.formula, weights.formula
    assert isinstance(member, Membership)
    if (member.inside, member.outside) != (1.0, 0.0) or not isinstance(formula, Product) or formula.bound:
        raise Inexpressible("a mask is multiplied")
    factor = _only(formula)
    if not isinstance(factor, Softmax) or factor.over != member.index or formula.coefficient != 1.0:
        raise Inexpressible("a mask is multiplied by something else than weights of parents")
    ratio = _ratio(factor.logits, factor.over, member.selection)
    if ratio is None:
        raise Inexpressible("the mask is of other logits than those it was made from")
    return Tensor(weights.dims, Product(1.0, (Restricted(member.selection, ratio, member.index),)))


def _div(flow: Dataflow, node: Node) -> Value | Tensor:
    if node.kwargs.get("rounding_mode") is not None:
        raise Inexpressible("an integer division")
    first, second = flow.value(node.args[0]), flow.value(node.args[1])
    below = _constant(second.tensor)
    if below is None:
        return _normalised(first.tensor, second.tensor)
    if _constant(first.tensor) is not None or isinstance(first.tensor.formula, Membership):
        return _pointwise(node.meta["val"].dtype, operator.truediv, first.tensor, second.tensor)
    if below == 0:
        raise Inexpressible("a division by 0")
    return _scaled(flow, node, 1 / below, first, second.tensor)


def _normalised(above: Tensor, below: Tensor) -> Tensor:
    """softmax over all parents, taken at the chosen ones and divided by its sum there: softmax over the chosen."""
    above, below = _padded(above, below)
    for tensor in (above, below):
        if not isinstance(tensor.formula, Product) or len(tensor.formula.factors) != 1:
            raise Inexpressible("a division by something that is not one constant")
    assert isinstance(above.formula, Product) and isinstance(below.formula, Product)
    factor = above.formula.factors[0]
    if isinstance(factor, Restricted):
        rows: Dim = factor.index
        chosen = Chosen(factor.selection, factor.scale, factor.index)
    elif isinstance(factor, Softmax) and len(factor.over) == 1 and isinstance(factor.over[0], Pick):
        pick = factor.over[0]
        rows, ratio = pick.rank, _ratio(factor.logits, (pick,), pick.selection)
        if ratio is None:
            raise Inexpressible("a division by something that is not one constant")
        chosen = Chosen(pick.selection, ratio, (pick,))
    else:
        raise Inexpressible("a division by something that is not one constant")
    total = summed(above.formula, rows)
    if above.formula.bound or below.formula != total:
        raise Inexpressible("a division by something that is not one constant")
    if any(a != b and not (b == () and a == rows) for a, b in zip(above.dims, below.dims, strict=True)):
        raise Inexpressible("a division by something that is not one constant")
    return Tensor(above.dims, Product(1.0, (chosen,)))


def _add(flow: Dataflow, node: Node) -> Value | Tensor:
    scale = node.kwargs.get("alpha", 1)
    if scale != 1:
        raise Inexpressible("a sum")
    first, second = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    if any(isinstance(t.formula, Position) for t in (first, second)):
        return _position(operator.add, first, second)
    masks = [t for t in (first, second) if isinstance(t.formula, Membership)]
    others = [t for t in (first, second) if _constant(t) is None and t not in masks]
    if len(masks) == 1 and len(others) == 1:
        return _masked(masks[0], others[0], kept=0.0)
    return _pointwise(node.meta["val"].dtype, operator.add, first, second)


def _sub(flow: Dataflow, node: Node) -> Tensor:
    first, second = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    if node.kwargs.get("alpha", 1) != 1:
        raise Inexpressible("a difference")
    return _pointwise(node.meta["val"].dtype, operator.sub, first, second)


def _rsub(flow: Dataflow, node: Node) -> Tensor:
    first, second = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    return _pointwise(node.meta["val"].dtype, lambda a, b: b - a, first, second)


def _computed(function: Callable[..., Any]) -> Callable[[Dataflow, Node], Tensor]:
    """A pointwise operator that only constants and masks go through."""

    def rule(flow: Dataflow, node: Node) -> Tensor:
        tensors = [flow.tensor(a) for a in node.args if isinstance(a, Node | bool | int | float)]
        return _pointwise(node.meta["val"].dtype, function, *tensors)

    return rule


def _bitwise_not(flow: Dataflow, node: Node) -> Tensor:
    if node.meta["val"].dtype != torch.bool:
        raise Inexpressible("`bitwise_not` of numbers")
    return _pointwise(torch.bool, operator.not_, flow.tensor(node.args[0]))


def _compared(function: Callable[..., Any]) -> Callable[[Dataflow, Node], Tensor]:
    def rule(flow: Dataflow, node: Node) -> Tensor:
        tensors = [flow.tensor(a) for a in node.args]
        try:
            return _pointwise(node.meta["val"].dtype, function, *tensors)
        except Inexpressible:
            raise Inexpressible(THRESHOLD) from None

    return rule


def _position(function: Callable[[Any, Any], Any], a: Tensor, b: Tensor) -> Tensor:
    """Sums of indices, and their multiples."""
    a, b = _aligned(a, b)
    numbers = []
    for tensor in (a, b):
        constant = _constant(tensor)
        if constant is not None:
            numbers.append(Position((), int(constant)))
        elif isinstance(tensor.formula, Position):
            numbers.append(tensor.formula)
        else:
            raise Inexpressible("arithmetic on indices")
    first, second = numbers
    if function is operator.add:
        result = Position(first.terms + second.terms, first.offset + second.offset)
    else:
        if first.terms and second.terms:
            raise Inexpressible("a product of indices")
        if not first.terms:
            first, second = second, first
        by = second.offset
        result = Position(tuple((index, stride * by) for index, stride in first.terms), first.offset * by)
    return Tensor(_together(a, b), result)


# -- products and sums -------------------------------------------------------------------------------------------


def _linear(flow: Dataflow, node: Node) -> Tensor:
    if _argument(node, 2, "bias") is not None:
        raise Inexpressible("the linear layer has a bias")
    x, w = flow.value(node.args[0]), flow.value(node.args[1])
    front = [f"p{i}" for i in range(len(x.tensor.dims) - 1)]
    return flow.rooted(node, (x, w), lambda a, b: contract(a, [*front, "h"], b, ["n", "h"], [*front, "n"]))


def _matmul(flow: Dataflow, node: Node) -> Tensor:
    a, b = flow.value(node.args[-2]), flow.value(node.args[-1])
    if len(node.args) == 3:
        raise Inexpressible("the product has a bias")
    ranks = len(a.tensor.dims), len(b.tensor.dims)
    front = [f"p{i}" for i in range(max(ranks) - 2)]
    left = ["k"] if ranks[0] == 1 else [*front[len(front) - ranks[0] + 2 :], "i", "k"]
    right = ["k"] if ranks[1] == 1 else [*front[len(front) - ranks[1] + 2 :], "k", "j"]
    out = front + ["i"] * (ranks[0] > 1) + ["j"] * (ranks[1] > 1)
    return flow.rooted(node, (a, b), lambda x, y: contract(x, left, y, right, out))


def _einsum(flow: Dataflow, node: Node) -> Tensor | Value:
    equation, operands = node.args[0], node.args[1]
    assert isinstance(equation, str) and isinstance(operands, list | tuple)
    values = [flow.value(operand) for operand in operands]
    inputs, _, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    longest = max(len(v.tensor.dims) - len(t.replace("...", "")) for t, v in zip(terms, values, strict=True))
    labels = []
    for term, value in zip(terms, values, strict=True):
        before, dots, after = term.partition("...")
        hidden = len(value.tensor.dims) - len(before) - len(after)
        labels.append([*before, *(f".{i}" for i in range(longest - hidden, longest) if dots), *after])
    if "->" in equation:
        before, dots, after = output.partition("...")
        out = [*before, *(f".{i}" for i in range(longest) if dots), *after]
    else:
        letters = sorted(c for c in set(inputs) if c.isalpha() and inputs.count(c) == 1)
        out = [*(f".{i}" for i in range(longest) if "..." in inputs), *letters]
    if len(values) == 1:
        one = Tensor((), Product(1.0))
        return flow.rooted(node, (values[0], Value(one, one)), lambda a, b: contract(a, labels[0], b, [], out))
    result, have = values[0], labels[0]
    for at in range(1, len(values)):
        last = at == len(values) - 1
        later = set(out).union(*labels[at + 1 :])
        keep = out if last else list(dict.fromkeys(c for c in (*have, *labels[at]) if c in later))

        def build(a: Tensor, b: Tensor, have=have, other=labels[at], keep=keep) -> Tensor:
            return contract(a, have, b, other, keep)

        tensor = flow.rooted(node, (result, values[at]), build)
        result, have = Value(tensor, tensor), keep
    return result.tensor


def _sum(flow: Dataflow, node: Node) -> Tensor:
    tensor = flow.tensor(node.args[0])
    listed = _argument(node, 1, "dim")
    axes = {_axis(tensor, d) for d in ([listed] if isinstance(listed, int) else listed or range(len(tensor.dims)))}
    keep = bool(_argument(node, 2, "keepdim", False))
    if isinstance(tensor.formula, OneHot):
        return _many_hot(tensor, axes, keep)
    if not isinstance(tensor.formula, Product) or not tensor.formula.factors:
        raise Inexpressible("a sum")
    formula = tensor.formula
    if node.meta["val"].dtype != torch.float32:
        raise Inexpressible("a sum that is not in fp32")
    for axis in axes:
        formula = summed(formula, tensor.dims[axis])
    return Tensor(_without(tensor.dims, axes, keep), formula)


def _without(dims: tuple[Dim, ...], axes: set[int], keep: bool) -> tuple[Dim, ...]:
    return tuple(() if at in axes else dim for at, dim in enumerate(dims) if keep or at not in axes)


def _one_hot(flow: Dataflow, node: Node) -> Tensor:
    tensor = flow.tensor(node.args[0])
    pick = _pick_of(tensor.formula) if isinstance(tensor.formula, Position) else None
    if pick is None or tensor.formula != Position(((pick, 1),)) or _shape(node)[-1] != pick.size:
        raise Inexpressible("a one-hot of something else than chosen rows")
    row = new_dim(pick.size)
    return Tensor((*tensor.dims, row), OneHot(pick, row))


def _many_hot(tensor: Tensor, axes: set[int], keep: bool) -> Tensor:
    """The sum of one-hot rows over all ranks: 1 at the chosen rows."""
    formula = tensor.formula
    assert isinstance(formula, OneHot)
    if [tensor.dims[a] for a in axes] != [formula.pick.rank] or size(formula.pick.rank) != formula.pick.selection.count:
        raise Inexpressible("a sum of one-hot rows that is not over the chosen")
    mask = Membership(formula.pick.selection, formula.index, 1.0, 0.0)
    return Tensor(_without(tensor.dims, axes, keep), mask)


def _reduced_one_hot(flow: Dataflow, node: Node) -> Tensor:
    tensor = flow.tensor(node.args[0])
    dim = _argument(node, 1, "dim")
    if not isinstance(tensor.formula, OneHot) or not isinstance(dim, int | list | tuple):
        raise Inexpressible(f"`{_name(node)}` is not a step of a memory lookup")
    axes = {_axis(tensor, d) for d in ([dim] if isinstance(dim, int) else dim)}
    return _many_hot(tensor, axes, bool(_argument(node, 2, "keepdim", False)))


# -- selection -----------------------------------------------------------------------------------------------------


def _select_rows(flow: Dataflow, node: Node, axis: int, count: int, largest: bool) -> tuple[Tensor, Tensor]:
    """Values and indices of a ranking; the node is recorded as an anchor, also where it selects no parents."""
    try:
        tensor = flow.tensor(node.args[0])
        axis = _axis(tensor, axis)
        formula, dim = tensor.formula, tensor.dims[axis]
        rank = new_dim(count)
        known = _ranked(formula, dim)
        if known is not None:
            selection, at = known
            if not largest or count > selection.count:
                raise Inexpressible("rows are selected a second time, in another way")
            selection = replace(selection, count=count)
        else:
            logits = formula
            if isinstance(formula, Product) and len(formula.factors) == 1 and isinstance(formula.factors[0], Softmax):
                softmax = formula.factors[0]
                if softmax.over != dim or formula.coefficient <= 0:
                    raise Inexpressible("softmax over a wrong axis, before the selection")
                logits = softmax.logits
            if not _are_logits(logits, dim):
                raise Inexpressible(_why_no_logits(flow, node, logits, dim))
            assert isinstance(logits, Product)
            if logits.coefficient < 0:
                raise Inexpressible("the parent logits are negated before they are ranked")
            selection, at = Selection(logits, dim, count, largest), dim
    except Inexpressible as error:
        flow.anchors[node] = str(error)
        raise
    flow.anchors[node] = selection
    pick = Pick(selection, rank, size(at))
    dims = (*tensor.dims[:axis], rank, *tensor.dims[axis + 1 :])
    if isinstance(formula, Masked):
        formula = replace(selection.logits, coefficient=selection.logits.coefficient * formula.scale)
        at = selection.over
    values = formula
    for digit in at:
        assert isinstance(digit, Digit)
        values = substitute(values, digit, (pick,))
    return Tensor(dims, values), Tensor(dims, Position(((pick, 1),)))


def _ranked(formula: Formula, dim: Dim) -> tuple[Selection, Dim] | None:
    """The selection that already decided which entries along `dim` are large."""
    if isinstance(formula, Masked) and formula.index == dim:
        return formula.selection, dim
    if isinstance(formula, Product) and len(formula.factors) == 1 and formula.coefficient > 0:
        factor = formula.factors[0]
        if isinstance(factor, Chosen) and factor.index == dim:
            return factor.selection, dim
    return None


def _are_logits(formula: Formula, dim: Dim) -> bool:
    """A product of two sources, summed over something, of which exactly one is run through by `dim`."""
    if not isinstance(formula, Product) or len(formula.factors) != 2 or len(dim) > 1:
        return False
    if not all(isinstance(factor, Leaf) for factor in formula.factors):
        return False
    return not dim or sum(depends(factor, dim) for factor in formula.factors) == 1


def _why_no_logits(flow: Dataflow, node: Node, formula: Formula, dim: Dim) -> str:
    if isinstance(formula, Product) and len(formula.factors) == 1 and isinstance(formula.factors[0], Leaf):
        why = flow.why.get(formula.factors[0].node)
        if why:
            return f"it does not rank parent logits: {why}"
    return "it does not rank parent logits, the product of a vector with a matrix"


def _topk(flow: Dataflow, node: Node) -> None:
    count = node.args[1]
    if not isinstance(count, int):
        flow.anchors[node] = "K is not a constant"
        return
    axis, largest = _argument(node, 2, "dim", -1), _argument(node, 3, "largest", True)
    flow.tuples[node] = _select_rows(flow, node, axis, count, largest)


def _sort(flow: Dataflow, node: Node) -> None:
    names = {"dim": node.kwargs.get("dim"), "descending": node.kwargs.get("descending")}
    place = 2 if node.target is aten.sort.stable else 1
    axis = names["dim"] if names["dim"] is not None else _argument(node, place, "dim", -1)
    descending = (
        names["descending"] if names["descending"] is not None else _argument(node, place + 1, "descending", False)
    )
    source = node.args[0]
    assert isinstance(source, Node)
    count = _shape(source)[axis] if source.meta["val"].dim() else sympy.Integer(1)
    if not descending or not count.is_Integer:
        flow.anchors[node] = "a sort that is not of parent logits from the largest down"
        return
    values, indices = _select_rows(flow, node, axis, int(count), True)
    if node.target in (aten.argsort.default, aten.argsort.stable):
        flow.values[node] = Value(indices, indices)
    else:
        flow.tuples[node] = (values, indices)


def _max(flow: Dataflow, node: Node) -> None:
    values, indices = _select_rows(flow, node, node.args[1], 1, True)
    if not _argument(node, 2, "keepdim", False):
        axis = _axis(flow.tensor(node.args[0]), node.args[1])
        values, indices = (Tensor(t.dims[:axis] + t.dims[axis + 1 :], t.formula) for t in (values, indices))
    flow.tuples[node] = (values, indices)


def _argmax(flow: Dataflow, node: Node) -> Tensor:
    axis = _argument(node, 1, "dim")
    if not isinstance(axis, int):
        raise Inexpressible("argmax over everything")
    _, indices = _select_rows(flow, node, axis, 1, True)
    if _argument(node, 2, "keepdim", False):
        return indices
    axis = _axis(flow.tensor(node.args[0]), axis)
    return Tensor(indices.dims[:axis] + indices.dims[axis + 1 :], indices.formula)


def _threshold(flow: Dataflow, node: Node) -> None:
    axis = node.args[2] if len(node.args) > 2 else -1
    try:
        _select_rows(flow, node, axis, int(node.args[1]), True)
    except Inexpressible:
        return
    finally:
        if isinstance(flow.anchors.get(node), Selection):
            flow.anchors[node] = THRESHOLD


def _getitem(flow: Dataflow, node: Node) -> Value | None:
    source, at = node.args
    if source in flow.tuples:
        return Value(flow.tuples[source][at], flow._leaf(node))
    flow._source(node, "")
    return None


def _softmax(flow: Dataflow, node: Node) -> Tensor:
    tensor = flow.tensor(node.args[0])
    axis = _axis(tensor, _argument(node, 1, "dim"))
    if node.meta["val"].dtype != torch.float32:
        raise Inexpressible("a softmax that is not in fp32")
    formula, dim = tensor.formula, tensor.dims[axis]
    if isinstance(formula, Masked):
        if formula.index != dim:
            raise Inexpressible(WRONG_AXIS)
        return Tensor(tensor.dims, Product(1.0, (Chosen(formula.selection, formula.scale, formula.index),)))
    if not isinstance(formula, Product) or not all(isinstance(f, Leaf) for f in formula.factors):
        raise Inexpressible("softmax of something that is not logits")
    pick = _pick_of(formula)
    if pick is not None:
        ratio = _ratio(formula, (pick,), pick.selection)
        if ratio is not None:
            if pick.rank != dim:
                raise Inexpressible(WRONG_AXIS)
            if not pick.selection.largest:
                raise Inexpressible(SMALLEST)
            return Tensor(tensor.dims, Product(1.0, (Chosen(pick.selection, ratio, (pick,)),)))
    return Tensor(tensor.dims, Product(1.0, (Softmax(formula, dim),)))


# -- masks -------------------------------------------------------------------------------------------------------


def _scatter(flow: Dataflow, node: Node) -> Tensor:
    base, indices = flow.tensor(node.args[0]), flow.tensor(node.args[2])
    axis = _axis(base, node.args[1])
    source = flow.tensor(node.args[3] if len(node.args) > 3 else node.kwargs.get("src", node.kwargs.get("value")))
    pick = _pick_of(indices.formula) if isinstance(indices.formula, Position) else None
    if pick is None or indices.formula != Position(((pick, 1),)) or indices.dims[axis] != pick.rank:
        raise Inexpressible("a scatter at something else than chosen rows")
    if size(base.dims[axis]) != pick.size:
        raise Inexpressible("a scatter along another axis than the parents")
    if size(pick.rank) != pick.selection.count:
        raise Inexpressible("a scatter of some of the chosen rows")
    for at in range(len(base.dims)):
        if at != axis and base.dims[at] != indices.dims[at]:
            base, indices = unify(base, indices, at, at)
    row = base.dims[axis]
    background, written = _constant(base), _constant(source)
    if background is not None and written is not None:
        return Tensor(base.dims, Membership(pick.selection, row, written, background))
    if written is not None:
        mask = Tensor(base.dims, Membership(pick.selection, row, written, 0.0))
        return _masked(mask, base, kept=0.0)
    if background is None or not isinstance(source.formula, Product):
        raise Inexpressible("a scatter that is not a step of a memory lookup")
    if source.dims[axis] != pick.rank:
        raise Inexpressible("what is scattered does not stand at the chosen rows")
    return _scattered(base, row, source.formula, pick, background)


def _scattered(base: Tensor, row: Dim, formula: Product, pick: Pick, background: float) -> Tensor:
    """Logits of the chosen into minus infinity, or their weights into zeros."""
    selection = pick.selection
    if not selection.largest:
        raise Inexpressible(SMALLEST)
    if background == 0.0 and formula == Product(1.0, (_only(formula),)):
        factor = _only(formula)
        if isinstance(factor, Chosen) and factor.selection == selection and factor.index == (pick,):
            return Tensor(base.dims, Product(1.0, (replace(factor, index=row),)))
        if isinstance(factor, Softmax) and pick.size == 1 and factor.over == ():
            return Tensor(base.dims, formula)
        if isinstance(factor, Softmax):
            raise Inexpressible(NOT_NORMALISED)
    if background <= LOWEST_FILL:
        ratio = _ratio(formula, (pick,), selection)
        if ratio is not None:
            return Tensor(base.dims, Masked(selection, ratio, row))
    if background < 0:
        raise Inexpressible(f"the mask is filled with {background}, which does not rule a parent out")
    raise Inexpressible("a scatter that is not a step of a memory lookup")


def _only(formula: Product):
    return formula.factors[0] if len(formula.factors) == 1 else None


def _masked(mask: Tensor, logits: Tensor, kept: float) -> Tensor:
    """Logits to which a mask adds `kept` (or which it leaves) on one side, and something very low on the other."""
    mask, logits = _aligned(mask, logits)
    member = mask.formula
    assert isinstance(member, Membership)
    selection = member.selection
    if member.inside <= LOWEST_FILL and member.outside == kept:
        selection = selection.chosen
    elif not (member.outside <= LOWEST_FILL and member.inside == kept):
        low = min(member.inside, member.outside)
        raise Inexpressible(f"the mask is filled with {low}, which does not rule a parent out")
    if not selection.largest:
        raise Inexpressible(SMALLEST)
    if member.index not in logits.dims:
        raise Inexpressible("the mask is of another axis")
    ratio = logits_ratio(logits, logits.dims.index(member.index), selection)
    if ratio is None:
        raise Inexpressible("the mask is of other logits than those it was made from")
    return Tensor(logits.dims, Masked(selection, ratio, member.index))


def _where(flow: Dataflow, node: Node) -> Tensor:
    condition, inside, outside = (flow.tensor(a) for a in node.args[:3])
    member = condition.formula
    if not isinstance(member, Membership):
        raise Inexpressible("a choice by something else than chosen rows")
    picked = _constant(inside), _constant(outside)
    if picked[0] is not None and picked[1] is not None:
        values = {1.0: picked[0], 0.0: picked[1]}
        mask = replace(member, inside=values[member.inside], outside=values[member.outside])
        return Tensor(_broadcast((condition, inside, outside)), mask)
    if picked[1] is not None:
        fill, logits = picked[1], inside
        mask = replace(member, inside=0.0 if member.inside else fill, outside=0.0 if member.outside else fill)
    elif picked[0] is not None:
        fill, logits = picked[0], outside
        mask = replace(member, inside=fill if member.inside else 0.0, outside=fill if member.outside else 0.0)
    else:
        raise Inexpressible("a choice between two tensors")
    return _masked(replace(condition, formula=mask), logits, kept=0.0)


def _masked_fill(flow: Dataflow, node: Node) -> Tensor:
    logits, condition, fill = flow.tensor(node.args[0]), flow.tensor(node.args[1]), _constant(flow.tensor(node.args[2]))
    member = condition.formula
    if not isinstance(member, Membership) or fill is None:
        raise Inexpressible("a mask of something else than chosen rows")
    mask = replace(member, inside=fill if member.inside else 0.0, outside=fill if member.outside else 0.0)
    if _constant(logits) is not None:
        return _pointwise(node.meta["val"].dtype, lambda m: fill if m else _constant(logits), condition)
    return _masked(replace(condition, formula=mask), logits, kept=0.0)


# -- reading rows --------------------------------------------------------------------------------------------------


def _row(position: Formula, rows: sympy.Expr) -> Dim:
    """The index, major first, that an integer formula spells out by strides."""
    if not isinstance(position, Position) or position.offset:
        raise Inexpressible("rows are read at something else than chosen ones")
    stride = 1
    dim: list[Digit | Pick] = []
    for index, step in sorted(position.terms, key=lambda term: term[1]):
        if step != stride or not index.size.is_Integer:
            raise Inexpressible("rows are read by arithmetic that cannot be followed")
        if index.size != 1:
            dim.insert(0, index)
        stride *= int(index.size)
    if stride != rows:
        raise Inexpressible("rows are read by indices of another range")
    return tuple(dim)


def _read(source: Tensor, axis: int, index: Dim) -> Formula:
    """The formula of `source` with dimension `axis` at `index`."""
    formula = source.formula
    parts = list(index)
    old = list(source.dims[axis])
    if len(old) == 1:
        assert isinstance(old[0], Digit)
        return substitute(formula, old[0], tuple(parts)) if depends(formula, (old[0],)) else formula
    if len(old) != len(parts) or any(a.size != b.size for a, b in zip(old, parts, strict=True)):
        raise Inexpressible("rows are read by indices of another range")
    for digit, part in zip(old, parts, strict=True):
        assert isinstance(digit, Digit)
        formula = substitute(formula, digit, (part,))
    return formula


def _gather(flow: Dataflow, node: Node) -> Tensor:
    source = flow.tensor(node.args[0])
    take_along = node.target is aten.take_along_dim.default
    indices = flow.tensor(node.args[1 if take_along else 2])
    axis = _argument(node, 2, "dim") if take_along else node.args[1]
    if axis is None:
        raise Inexpressible("rows are read out of a flattened tensor")
    axis = _axis(source, axis)
    for at in range(len(source.dims)):
        if at == axis or source.dims[at] == indices.dims[at]:
            continue
        if take_along and () in (source.dims[at], indices.dims[at]):
            continue
        source, indices = unify(source, indices, at, at)
    row = _row(indices.formula, size(source.dims[axis]))
    dims = tuple(
        indices.dims[at] if at == axis or indices.dims[at] else source.dims[at] for at in range(len(source.dims))
    )
    return Tensor(dims, _read(source, axis, row))


def _index_select(flow: Dataflow, node: Node) -> Tensor:
    source, indices = flow.tensor(node.args[0]), flow.tensor(node.args[2])
    axis = _axis(source, node.args[1])
    row = _row(indices.formula, size(source.dims[axis]))
    dims = source.dims[:axis] + (indices.dims or ((),)) + source.dims[axis + 1 :]
    return Tensor(dims, _read(source, axis, row))


def _embedding(flow: Dataflow, node: Node) -> Tensor:
    source, indices = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    row = _row(indices.formula, size(source.dims[0]))
    return Tensor(indices.dims + source.dims[1:], _read(source, 0, row))


def _index(flow: Dataflow, node: Node) -> Tensor:
    """Advanced indexing; an index that only counts along a dimension leaves that dimension as it is."""
    source = flow.tensor(node.args[0])
    listed = list(node.args[1])
    axes = [at for at, argument in enumerate(listed) if argument is not None]
    if axes != list(range(axes[0], axes[-1] + 1)):
        raise Inexpressible("indices apart from each other")
    indices = [flow.tensor(listed[at]) for at in axes]
    rank = max(len(i.dims) for i in indices)
    indices = [replace(i, dims=((),) * (rank - len(i.dims)) + i.dims) for i in indices]
    for one in range(len(indices)):
        for other in range(one + 1, len(indices)):
            indices[one], indices[other] = _aligned(indices[one], indices[other])
    counted = [i for i in range(len(axes)) if _counts_along(indices[i], source.dims[axes[i]])]
    for i in counted:
        formula = indices[i].formula
        assert isinstance(formula, Position)
        digit = formula.terms[0][0]
        assert isinstance(digit, Digit)
        whole = source.dims[axes[i]]
        indices = [t.substitute(digit, whole) for t in indices]
    result = source
    for i, axis in enumerate(axes):
        if i not in counted:
            row = _row(indices[i].formula, size(source.dims[axis]))
            result = replace(result, formula=_read(result, axis, row))
    dims: list[Dim] = [()] * rank
    for tensor in indices:
        dims = [dim if dim != () else have for dim, have in zip(tensor.dims, dims, strict=True)]
    return Tensor((*source.dims[: axes[0]], *dims, *source.dims[axes[-1] + 1 :]), result.formula)


def _counts_along(tensor: Tensor, dim: Dim) -> bool:
    formula = tensor.formula
    if not isinstance(formula, Position) or formula.offset or len(formula.terms) != 1 or len(dim) != 1:
        return False
    index, stride = formula.terms[0]
    return stride == 1 and isinstance(index, Digit) and index.whole and index.size == dim[0].size


def _fill_argument(position: int, name: str) -> Callable[[Dataflow, Node], Any]:
    return lambda flow, node: _argument(node, position, name)


def _power(base: float, exponent: float) -> float:
    return base**exponent


_IGNORED = {
    aten._assert_tensor_metadata.default,
    aten.sym_size.int,
    aten._assert_scalar.default,
    aten.sym_constrain_range_for_size.default,
}

_COMPARISONS = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}

_Rule = Callable[[Dataflow, Node], Value | Tensor | None]
_RULES: dict[Any, _Rule] = {
    operator.getitem: _getitem,
    aten.linear.default: _linear,
    aten.einsum.default: _einsum,
    aten.sum.dim_IntList: _sum,
    aten.mul.Tensor: _mul,
    aten.mul.Scalar: _mul,
    aten.div.Tensor: _div,
    aten.div.Scalar: _div,
    aten.true_divide.Tensor: _div,
    aten.add.Tensor: _add,
    aten.add.Scalar: _add,
    aten.sub.Tensor: _sub,
    aten.sub.Scalar: _sub,
    aten.rsub.Scalar: _rsub,
    aten.rsub.Tensor: _rsub,
    aten.topk.default: _topk,
    aten.sort.default: _sort,
    aten.sort.stable: _sort,
    aten.argsort.default: _sort,
    aten.argsort.stable: _sort,
    aten.max.dim: _max,
    aten.argmax.default: _argmax,
    aten.kthvalue.default: _threshold,
    aten.scatter.src: _scatter,
    aten.scatter.value: _scatter,
    aten.where.self: _where,
    aten.where.ScalarSelf: _where,
    aten.where.ScalarOther: _where,
    aten.where.Scalar: _where,
    aten.masked_fill.Scalar: _masked_fill,
    aten.masked_fill.Tensor: _masked_fill,
    aten.gather.default: _gather,
    aten.take_along_dim.default: _gather,
    aten.index_select.default: _index_select,
    aten.index.Tensor: _index,
    aten.embedding.default: _embedding,
    aten.one_hot.default: _one_hot,
    aten.amax.default: _reduced_one_hot,
    aten.any.dim: _reduced_one_hot,
    aten.slice.Tensor: _slice,
    aten.slice_copy.Tensor: _slice,
    aten.narrow.default: _slice,
    aten.select.int: _select,
    aten.dropout.default: _dropout,
    aten.arange.default: _arange,
    aten.arange.start: _arange,
    aten.arange.start_step: _arange,
    aten.full.default: _filled(_fill_argument(1, "fill_value")),
    aten.full_like.default: _filled(_fill_argument(1, "fill_value")),
    aten.new_full.default: _filled(_fill_argument(2, "fill_value")),
    aten.scalar_tensor.default: _filled(_fill_argument(0, "s")),
    aten.fill.Scalar: _filled(_fill_argument(1, "value")),
    aten.fill.Tensor: _filled(_fill_argument(1, "value")),
    aten.neg.default: _computed(operator.neg),
    aten.pow.Tensor_Scalar: _computed(_power),
    aten.pow.Scalar: _computed(_power),
    aten.sqrt.default: _computed(lambda v: torch.tensor(v).sqrt()),
    aten.rsqrt.default: _computed(lambda v: torch.tensor(v).rsqrt()),
    aten.reciprocal.default: _computed(lambda v: 1 / v if v else math.inf),
    aten.exp.default: _computed(lambda v: torch.tensor(v).exp()),
    aten.log.default: _computed(lambda v: torch.tensor(v).log()),
    aten.logical_not.default: _computed(operator.not_),
    aten.bitwise_not.default: _bitwise_not,
    aten.eq.Scalar: _computed(operator.eq),
    aten.ne.Scalar: _computed(operator.ne),
}
_RULES |= {
    op: _view
    for op in (
        aten.view.default,
        aten.view_copy.default,
        aten._unsafe_view.default,
        aten.reshape.default,
        aten.flatten.using_ints,
        aten.unflatten.int,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.squeeze_copy.dims,
        aten.unsqueeze.default,
        aten.unsqueeze_copy.default,
        aten.view_as.default,
        aten.reshape_as.default,
    )
}
_RULES |= {
    op: _copy
    for op in (
        aten.clone.default,
        aten.contiguous.default,
        aten.alias.default,
        aten.alias_copy.default,
        aten.detach.default,
        aten.detach_.default,
        aten.lift_fresh_copy.default,
        aten._to_copy.default,
        aten.to.dtype,
        aten.to.dtype_layout,
        aten.to.device,
        aten.to.other,
        aten.type_as.default,
    )
}
_RULES |= {
    op: _expand
    for op in (
        aten.expand.default,
        aten.expand_copy.default,
        aten.expand_as.default,
        aten.broadcast_to.default,
        aten.repeat.default,
        aten.tile.default,
    )
}
_RULES |= {
    op: _permuted(lambda node, rank: [d % rank for d in node.args[1]])
    for op in (aten.permute.default, aten.permute_copy.default)
}
_RULES |= {
    op: _permuted(lambda node, rank: _swap(rank, node.args[1], node.args[2]))
    for op in (aten.transpose.int, aten.transpose_copy.int, aten.swapaxes.default, aten.swapdims.default)
}
_RULES |= {aten.movedim.int: _permuted(_moved), aten.movedim.intlist: _permuted(_moved)}
_RULES |= {
    op: _permuted(lambda node, rank: _swap(rank, -2, -1) if rank > 1 else [0])
    for op in (aten.t.default, aten.mT.default)
}
_RULES |= {aten.numpy_T.default: _permuted(lambda node, rank: list(range(rank))[::-1])}
_RULES |= {
    op: _matmul
    for op in (
        aten.matmul.default,
        aten.mm.default,
        aten.bmm.default,
        aten.mv.default,
        aten.addmm.default,
        aten.baddbmm.default,
    )
}
_RULES |= {op: _softmax for op in (aten.softmax.int, aten._softmax.default)}
_RULES |= {
    op: _filled(lambda flow, node: 0.0) for op in (aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default)
}
_RULES |= {
    op: _filled(lambda flow, node: 1.0) for op in (aten.ones.default, aten.ones_like.default, aten.new_ones.default)
}
_RULES |= {
    op: _compared(function)
    for name, function in _COMPARISONS.items()
    for op in (getattr(aten, name).Tensor, getattr(aten, name).Scalar)
}


def leads_to_threshold(node: Node, steps: int = 4) -> bool:
    """Whether what a node took out of a top-K is compared with something a few steps on."""
    if node.target in {getattr(aten, name).Tensor for name in _COMPARISONS}:
        return True
    return steps > 0 and any(leads_to_threshold(user, steps - 1) for user in node.users)
