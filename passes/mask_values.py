"""What stands in the columns of a mask, for every attention mask of noughts and ones and at every length.

Nothing is tried: each operator between the attention mask and the node gets the bounds of what it can give, apart for
columns that the mask keeps and for those that it doesn't.

    attention_mask [1, L]      0 | 1 along dimension 1
    x.bool()                   False | True along dimension 1
    arange(L)                  0 .. longest - 1, counting along dimension 0
    q - k                      1 - longest .. longest - 1
    abs(q - k) <= 64           True if longest - 1 <= 64, else False .. True: rows may differ
    attention_mask[0, k]       what the mask holds, along the dimension that k counts

A bound is one number where both ends are equal; arithmetic on such is run by torch itself, in the tensors' own types,
so the numbers are those of the program. An operator without a rule here can give anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import constant_tensor
from spartanc.passes.rewrite import VIEWS, aten, same_place, shape_of, transposition

# The least and the greatest element; None where it can be anything.
Bounds = tuple[Any, Any] | None
# Between bounds up to this, sums and products neither wrap round nor become infinite or NaN.
_LARGEST = 1 << 31

_CREATED: dict[Any, Callable[..., Any]] = {
    aten.zeros.default: lambda size: 0,
    aten.ones.default: lambda size: 1,
    aten.full.default: lambda size, value: value,
    aten.scalar_tensor.default: lambda value: value,
    aten.zeros_like.default: lambda x: 0,
    aten.ones_like.default: lambda x: 1,
    aten.full_like.default: lambda x, value: value,
    aten.new_zeros.default: lambda x, size: 0,
    aten.new_ones.default: lambda x, size: 1,
    aten.new_full.default: lambda x, size, value: value,
}
# They keep the elements and their order.
RESHAPING = {
    *VIEWS,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
}
# Element by element, and between the least and the greatest of their results at the operands' bounds.
_MONOTONE = {
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.rsub.Scalar,
    aten.mul.Tensor,
    aten.neg.default,
    aten.lt.Scalar,
    aten.lt.Tensor,
    aten.le.Scalar,
    aten.le.Tensor,
    aten.gt.Scalar,
    aten.gt.Tensor,
    aten.ge.Scalar,
    aten.ge.Tensor,
    aten.where.self,
    aten.where.ScalarOther,
    aten.where.ScalarSelf,
    aten.where.Scalar,
    aten.masked_fill.Scalar,
    aten.masked_fill.Tensor,
}
# The same for tensors of bool. On numbers they are not: what is not 0 counts as true, and 0 may lie between the bounds.
_MONOTONE_ON_BOOL = {
    aten.logical_and.default,
    aten.logical_or.default,
    aten.logical_not.default,
    aten.__and__.Tensor,
    aten.__or__.Tensor,
    aten.bitwise_and.Tensor,
    aten.bitwise_or.Tensor,
    aten.bitwise_not.default,
}
# Element by element, so known where the operands are single numbers.
_POINTWISE = {
    aten.abs.default,
    aten.div.Tensor,
    aten.eq.Scalar,
    aten.eq.Tensor,
    aten.ne.Scalar,
    aten.ne.Tensor,
    aten._to_copy.default,
    *_MONOTONE,
    *_MONOTONE_ON_BOOL,
}


@dataclass(frozen=True)
class Values:
    """What the elements of one tensor can be.

    masked, kept: bounds of those in columns that the attention mask leaves out, and in those that it keeps.
    axis: the dimension that runs over columns; None if the attention mask plays no part, and both bounds are the same.
    counts: the dimension whose own index every element holds; None if there is none such.
    """

    masked: Bounds
    kept: Bounds
    axis: int | None = None
    counts: int | None = None

    def of(self, kept: int) -> Bounds:
        return self.kept if kept else self.masked

    def of_any_column(self) -> Values:
        """The same elements, if it isn't known any more which column each belongs to."""
        both = _hull(self.masked, self.kept)
        return Values(both, both, None, self.counts)


_ANYTHING = Values(None, None)


def is_pointwise(node: Node) -> bool:
    """Whether every element of `node` is made of those at its own place in the operands."""
    return node.target in _POINTWISE


def kept_and_masked(
    program: ExportedProgram, node: Node, mask: Node, given: Mapping[Node, bool] | None = None
) -> tuple[float, float] | None:
    """The number in every column of `node` [.., L] that `mask` [1, L] keeps, and that in all others.

    given: nodes of bools that count as holding one value everywhere. None if the elements depend on anything else, or
    it can't be shown that they don't.
    """
    found = values_of(program, node, mask, given)
    if not _single(found.masked) or not _single(found.kept) or found.axis not in (None, len(shape_of(node)) - 1):
        return None
    assert found.kept is not None
    assert found.masked is not None
    return float(found.kept[0]), float(found.masked[0])


def values_of(program: ExportedProgram, node: Node, mask: Node, given: Mapping[Node, bool] | None = None) -> Values:
    """What the elements of `node` can be; `given` as for `kept_and_masked`."""
    needed = set(sources_of(node))
    held = {each: Values((value, value), (value, value)) for each, value in (given or {}).items()}
    held[mask] = Values((0, 0), (1, 1), axis=1)
    for each in program.graph.nodes:
        if each in needed and each not in held:
            held[each] = _of(program, each, held)
    return held[node]


def sources_of(node: Node) -> list[Node]:
    """`node` and all that it is made of."""
    found: dict[Node, None] = {}
    stack = [node]
    while stack:
        current = stack.pop()
        if current not in found:
            found[current] = None
            stack.extend(current.all_input_nodes)
    return list(found)


def _of(program: ExportedProgram, node: Node, held: dict[Node, Values]) -> Values:
    value = node.meta.get("val")
    if isinstance(value, torch.SymInt):
        return _size(program, value)
    if not isinstance(value, torch.Tensor):
        return _ANYTHING
    found = _constant(program, node) if node.op == "placeholder" else _called(node, held)
    if value.dtype is torch.bool:
        return dataclasses.replace(found, masked=found.masked or (False, True), kept=found.kept or (False, True))
    return found


def _size(program: ExportedProgram, size: torch.SymInt) -> Values:
    limits = program.range_constraints.get(size.node.expr)
    if limits is None or not limits.is_int or not limits.upper.is_finite:
        return _ANYTHING
    bounds = int(limits.lower), int(limits.upper)
    return Values(bounds, bounds)


def _constant(program: ExportedProgram, node: Node) -> Values:
    tensor = constant_tensor(program, node)
    if tensor is None or not tensor.numel():
        return _ANYTHING
    bounds = tensor.min().item(), tensor.max().item()
    return Values(bounds, bounds) if bounds[0] <= bounds[1] else _ANYTHING  # NaN is not


def _called(node: Node, held: dict[Node, Values]) -> Values:
    target = node.target
    if target in _CREATED:
        number = _CREATED[target](*node.args)
        if isinstance(number, Node):
            return _ANYTHING
        bounds = (torch.tensor(number, dtype=node.meta["val"].dtype).item(),) * 2
        return Values(bounds, bounds)
    if target in (aten.arange.default, aten.arange.start):
        return _counting(node, held)
    if target in _POINTWISE:
        return _pointwise(node, held)
    if target is aten.index.Tensor:
        return _indexed(node, held)
    return _moved(node, held)


def _counting(node: Node, held: dict[Node, Values]) -> Values:
    end = node.args[-1]
    if isinstance(end, Node):
        limits = held[end].kept
        end = None if limits is None else limits[1]
    if not isinstance(end, int) or (len(node.args) > 1 and node.args[0] != 0):
        return _ANYTHING
    return Values((0, end - 1), (0, end - 1), counts=0)


def _moved(node: Node, held: dict[Node, Values]) -> Values:
    """Operators that change where elements stand, and leave them as they are."""
    source = node.args[0] if node.args else None
    if not isinstance(source, Node) or source not in held:
        return _ANYTHING
    before, after = shape_of(source) if isinstance(source.meta["val"], torch.Tensor) else [], shape_of(node)
    order = transposition(node)
    if node.target in RESHAPING:
        return _placed(held[source], lambda dim: same_place(after, before, dim))
    if order is not None:
        return _placed(held[source], order.index)
    if node.target is aten.expand.default:
        return _placed(held[source], lambda dim: dim + len(after) - len(before))
    if node.target is aten.slice.Tensor:
        cut = _dimension(node, before)
        from_start = node.args[2:3] in ((), (0,), (None,)) and node.args[4:] in ((), (1,))
        return _placed(held[source], lambda at: at if from_start or at != cut else None)
    if node.target is aten.select.int:
        gone = _dimension(node, before)
        return _placed(held[source], lambda at: None if at == gone else at - (at > gone))
    return _ANYTHING


def _dimension(node: Node, shape: list) -> int:
    """The dimension of its input that a slice or select works on."""
    dim = node.args[1] if len(node.args) > 1 else 0
    assert isinstance(dim, int)
    return dim % len(shape)


def _placed(values: Values, place: Callable[[int], int | None]) -> Values:
    """`values` whose dimensions stand elsewhere; `place` gives None for one that is lost."""
    counts = None if values.counts is None else place(values.counts)
    values = dataclasses.replace(values, counts=counts)
    if values.axis is None:
        return values
    axis = place(values.axis)
    return values.of_any_column() if axis is None else dataclasses.replace(values, axis=axis)


def _indexed(node: Node, held: dict[Node, Values]) -> Values:
    source, indices = node.args
    values = held[source]
    if values.axis is None or len(indices) != len(shape_of(source)) or any(each is None for each in indices):
        return dataclasses.replace(values.of_any_column(), counts=None)
    column = indices[values.axis]
    counts = held[column].counts
    if counts is None:
        return dataclasses.replace(values.of_any_column(), counts=None)
    return Values(values.masked, values.kept, counts + len(shape_of(node)) - len(shape_of(column)))


def _pointwise(node: Node, held: dict[Node, Values]) -> Values:
    rank = len(shape_of(node))
    operands = {each: held[each] for each in node.all_input_nodes}
    axes = {values.axis + rank - len(shape_of(each)) for each, values in operands.items() if values.axis is not None}
    if len(axes) > 1:  # of two columns, as in mask[i] & mask[j]
        operands = {each: values.of_any_column() for each, values in operands.items()}
        axes = set()
    masked, kept = (_at_bounds(node, {each: v.of(bit) for each, v in operands.items()}) for bit in (0, 1))
    return Values(masked, kept, axes.pop() if axes else None)


def _at_bounds(node: Node, operands: dict[Node, Bounds]) -> Bounds:
    """Bounds of a pointwise operator's result, from its results at all combinations of its operands' bounds."""
    single = all(_single(bounds) for bounds in operands.values())
    if not single and not _is_monotone(node):
        return _of_interval(node, next(iter(operands.values())))
    if any(bounds is None for bounds in operands.values()):
        return None
    ends = [set(bounds) if bounds is not None else set() for bounds in operands.values()]
    if not single and any(abs(end) > _LARGEST for each in ends for end in each):
        return None
    results = []
    for chosen in product(*ends):
        numbers = {each: _as(each, number) for each, number in zip(operands, chosen, strict=True)}
        arguments = torch.fx.node.map_arg(node.args, numbers.__getitem__)
        named = torch.fx.node.map_arg(node.kwargs, numbers.__getitem__)
        results.append(node.target(*arguments, **named).item())
    if any(result != result for result in results):  # NaN
        return None
    return min(results), max(results)


def _is_monotone(node: Node) -> bool:
    dtype = node.meta["val"].dtype
    operands = [each for each in node.args if isinstance(each, Node)]
    if len(set(operands)) < len(operands):  # x * x is least between its bounds
        return False
    if node.target in _MONOTONE_ON_BOOL:
        return all(each.meta["val"].dtype is torch.bool for each in operands)
    if node.target is aten._to_copy.default:
        return dtype.is_floating_point
    return node.target in _MONOTONE and (dtype.is_floating_point or dtype in (torch.bool, torch.int64))


def _of_interval(node: Node, bounds: Bounds) -> Bounds:
    if node.target is not aten.abs.default or bounds is None:
        return None
    low, high = bounds
    return (0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _as(node: Node, number: Any) -> Any:
    """`number` as one element of `node`, of its type and rank, on which types of results depend."""
    value = node.meta["val"]
    return torch.full([1] * value.dim(), number, dtype=value.dtype) if isinstance(value, torch.Tensor) else number


def _single(bounds: Bounds) -> bool:
    return bounds is not None and bounds[0] == bounds[1]


def _hull(a: Bounds, b: Bounds) -> Bounds:
    return None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))
