"""Lower `spartan::memory_lookup` to stock operators, for a runtime that nothing of ours can be linked into.

Before:   y = spartan::memory_lookup(x, parents, keys, values, top_k, temperature)

After, for C cells a parent (all constants are new buffers; `linear` is aten.linear with a constant weight):

    p   = linear(x, parents)                            parent logits
    r   = linear(clamp(linear(p, pairs) * 2^100, 0, 1), places)
    off = clamp(top_k - 1 - r, -1, 0)                   0 for the chosen parents, -1 for the others
    a   = softmax(p + 1e30 * off)                       parent weights; exactly 0 for the others
    c_j = linear(x, keys_j / temperature)               j = 0 .. C-1: the j-th cell of every parent
    e_j = exp(c_j - max_j c_j)
    y   = sum_j linear(e_j * (a / sum_j e_j), values_j)

Why this form. XNNPACK takes `linear` with constant weights, and no topk, comparison, scatter or gather; one
operator that it does not take cuts a layer in two. So the choice of parents is arithmetic as well: `pairs`
holds one row for every two parents lo < hi, with the difference p_hi - p_lo scaled up until its sign is all
that a clamp leaves, and `places` adds up, for every parent, how many others stand before it. The first
product adds two terms that are not zero, the second small integers: the place of a parent is exact, and of
two equal parents the lower index stands first, as the operator's definition says. The scales multiply to
2^163, enough for the smallest difference that fp32 has, and p may be as large as 2^64. Cells stand apart by
their place under the parent, so that no tensor changes its rank: a view of a dynamic length costs a
delegate call. With more than `SPLIT_CELLS` cells a parent the number of operators would grow past what that
saves, and cells are viewed as [.., E, C] under one softmax.

Variations: a single parent has weight 1; top_k = E chooses nothing (a = softmax(p)); with one cell a parent
keys do not matter (y = linear(a, values)); above `RANKED_PARENTS` parents the pairs cost more than they
save (E^3 multiply-adds a position), and the K-th logit comes from aten.topk, which is then the one operator
outside; equal logits are still settled by index.

Left alone, with the reason: a memory whose tensors are not constants of the program (a method's inputs).

Numbers: the same function, rounded in another order; the temperature is folded into the keys.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from spartanc.compiler.ops import memory_lookup  # noqa: F401  defines the operator that is looked for
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped

RANKED_PARENTS = 32
SPLIT_CELLS = 8
NOT_CONSTANT = "its parents, keys or values are not constants of the program"

_FAR_BELOW = 1e30  # subtracted from the logit of a parent that was not chosen: its exponential is 0
_PAIR_SCALE = 2.0**63
_SIGN_SCALE = 2.0**100

_aten = torch.ops.aten


class LowerMemoryPortable(GraphPass):
    """See the module's docstring."""

    name = "lower_memory_portable"
    provides = frozenset({"stock_operators"})
    breaks = frozenset({"fused_memories"})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        report = PassReport(self.name)
        result = copy_program(program)
        graph = result.graph
        constants = _Constants(result)
        forms: dict[str, int] = {}
        for node in _memories(graph):
            parents, keys, values = (constants.value(argument) for argument in node.args[1:4])
            if parents is None or keys is None or values is None:
                report.skipped.append(Skipped(node.name, NOT_CONSTANT))
                continue
            top_k, temperature = node.args[4], node.args[5]
            with graph.inserting_before(node):
                emit = _Emitter(graph, node)
                form, y = _lower(emit, constants, node.name, node.args[0], parents, keys, values, top_k, temperature)
            node.replace_all_uses_with(y)
            graph.erase_node(node)
            forms[form] = forms.get(form, 0) + 1
            report.changes += 1
        report.notes["forms"] = forms
        return finish(result), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in _memories(program.graph):
            return f"`{node.name}` is still a spartan::memory_lookup"
        return None


def _memories(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.target is torch.ops.spartan.memory_lookup.default]


def _lower(
    emit: _Emitter,
    constants: _Constants,
    name: str,
    x: Node,
    parents_EH: Tensor,
    keys_MH: Tensor,
    values_MH: Tensor,
    top_k: int,
    temperature: float,
) -> tuple[str, Node]:
    """Emit one memory; the name of the form that was taken, and its result."""
    E, H = parents_EH.shape
    C = keys_MH.shape[0] // E
    if E == 1:
        logits = emit.linear(x, constants.add(f"portable_{name}_keys", keys_MH / temperature))
        b = emit(_aten.softmax.int, logits, -1)
        return "one parent", emit.linear(b, constants.add(f"portable_{name}_values", values_MH.T))
    p = emit.linear(x, constants.add(f"portable_{name}_parents", parents_EH))
    selection, a = _parent_weights(emit, constants, p, E, top_k)
    if C == 1:
        return f"{selection}, one cell", emit.linear(a, constants.add(f"portable_{name}_values", values_MH.T))
    keys_ECH = (keys_MH / temperature).view(E, C, H)
    values_ECH = values_MH.view(E, C, H)
    lead = _leading_sizes(x)
    if C > SPLIT_CELLS and lead is not None:
        logits = emit.linear(x, constants.add(f"portable_{name}_keys", keys_ECH.reshape(E * C, H)))
        b = emit(_aten.softmax.int, emit(_aten.view.default, logits, [*lead, E, C]), -1)
        w = emit(_aten.mul.Tensor, b, emit(_aten.unsqueeze.default, a, -1))
        w = emit(_aten.view.default, w, [*lead, E * C])
        return f"{selection}, viewed cells", emit.linear(w, constants.add(f"portable_{name}_values", values_MH.T))

    logits_C = [emit.linear(x, constants.add(f"portable_{name}_keys_{j}", keys_ECH[:, j])) for j in range(C)]
    largest = emit.fold(_aten.maximum.default, logits_C)
    exp_C = [emit(_aten.exp.default, emit(_aten.sub.Tensor, c, largest)) for c in logits_C]
    scale = emit(_aten.div.Tensor, a, emit.fold(_aten.add.Tensor, exp_C))
    terms = [
        emit.linear(emit(_aten.mul.Tensor, e, scale), constants.add(f"portable_{name}_values_{j}", values_ECH[:, j].T))
        for j, e in enumerate(exp_C)
    ]
    return f"{selection}, split cells", emit.fold(_aten.add.Tensor, terms)


def _parent_weights(emit: _Emitter, constants: _Constants, p: Node, E: int, top_k: int) -> tuple[str, Node]:
    """softmax over the `top_k` largest of p [.., E], 0 for the others."""
    if top_k == E:
        return "all parents", emit(_aten.softmax.int, p, -1)
    if E <= RANKED_PARENTS:
        selection, off = "ranked", _off_by_rank(emit, constants, p, E, top_k)
    else:
        selection, off = "topk", _off_by_threshold(emit, constants, p, E, top_k)
    masked = emit(_aten.add.Tensor, p, emit(_aten.mul.Tensor, off, _FAR_BELOW))
    return selection, emit(_aten.softmax.int, masked, -1)


def _off_by_rank(emit: _Emitter, constants: _Constants, p: Node, E: int, top_k: int) -> Node:
    """0 where fewer than `top_k` parents stand before this one, else -1."""
    two = list(itertools.combinations(range(E), 2))
    pairs = torch.zeros(len(two), E)
    places = torch.zeros(E, len(two))
    bias = torch.full((E,), float(top_k - 1))
    for row, (low, high) in enumerate(two):  # the pair's indicator is 1 where p_high > p_low
        pairs[row, high], pairs[row, low] = _PAIR_SCALE, -_PAIR_SCALE
        places[low, row] = -1.0  # then `high` stands before `low`
        places[high, row] = 1.0  # else `low` stands before `high`: 1 - indicator, the 1 in the bias
        bias[high] -= 1.0
    difference = emit.linear(p, constants.add(f"portable_memory_pairs_{E}", pairs))
    ahead = emit(_aten.clamp.default, emit(_aten.mul.Tensor, difference, _SIGN_SCALE), 0.0, 1.0)
    place_weight = constants.add(f"portable_memory_places_{E}", places)
    place_bias = constants.add(f"portable_memory_places_{E}_of_{top_k}", bias)
    return emit(_aten.clamp.default, emit.linear(ahead, place_weight, place_bias), -1.0, 0.0)


def _off_by_threshold(emit: _Emitter, constants: _Constants, p: Node, E: int, top_k: int) -> Node:
    """As above from the K-th largest logit: all above it are chosen, of those equal to it the first few."""
    largest = emit(operator.getitem, emit(_aten.topk.default, p, top_k), 0)
    kth = emit(_aten.slice.Tensor, largest, -1, top_k - 1, top_k)

    def is_positive(difference: Node) -> Node:
        scaled = emit(_aten.mul.Tensor, emit(_aten.mul.Tensor, difference, _PAIR_SCALE), _SIGN_SCALE)
        return emit(_aten.clamp.default, scaled, 0.0, 1.0)

    above = is_positive(emit(_aten.sub.Tensor, p, kth))
    below = is_positive(emit(_aten.sub.Tensor, kth, p))
    equal = emit(_aten.sub.Tensor, emit(_aten.mul.Tensor, emit(_aten.add.Tensor, above, below), -1.0), -1.0)
    equal_so_far = emit.linear(equal, constants.add(f"portable_memory_so_far_{E}", torch.ones(E, E).tril()))
    chosen_above = emit.linear(above, constants.add(f"portable_memory_total_{E}", torch.ones(E, E)))
    # An equal one is chosen while it and those before it fit beside the ones above: 0 or less is "fits".
    excess = emit(_aten.add.Tensor, equal_so_far, emit(_aten.sub.Tensor, chosen_above, float(top_k)))
    too_late = emit(_aten.mul.Tensor, equal, emit(_aten.clamp.default, excess, 0.0, 1.0))
    return emit(_aten.mul.Tensor, emit(_aten.add.Tensor, below, too_late), -1.0)


def _leading_sizes(x: Node) -> list[int] | None:
    """All sizes of x but the last for a view, -1 for a dynamic one; None where more than one is dynamic."""
    sizes = [size if isinstance(size, int) else -1 for size in x.meta["val"].shape[:-1]]
    return sizes if sizes.count(-1) <= 1 else None


class _Emitter:
    """Appends operators to a graph, each with the shape that its inputs give it."""

    def __init__(self, graph: Graph, origin: Node):
        self._graph = graph
        self._origin = origin
        self._fake_mode = origin.meta["val"].fake_mode

    def __call__(self, target: Any, *args: Any) -> Node:
        node = self._graph.call_function(target, args)
        for key in ("stack_trace", "nn_module_stack"):
            if key in self._origin.meta:
                node.meta[key] = self._origin.meta[key]
        with self._fake_mode, torch.no_grad():
            node.meta["val"] = target(*_values(args))
        return node

    def linear(self, x: Node, weight: Node, bias: Node | None = None) -> Node:
        return self(_aten.linear.default, x, weight) if bias is None else self(_aten.linear.default, x, weight, bias)

    def fold(self, target: Any, nodes: Sequence[Node]) -> Node:
        result = nodes[0]
        for node in nodes[1:]:
            result = self(target, result, node)
        return result


def _values(args: Any) -> Any:
    return map_arg(args, lambda node: node.meta["val"])


class _Constants:
    """The constant tensors of a program: reads those that are there and adds new ones."""

    def __init__(self, program: ExportedProgram):
        self._program = program

    def value(self, node: Any) -> Tensor | None:
        """The tensor that `node` always has, if it is a function of constants; None for any other."""
        if not isinstance(node, Node):
            return None
        if node.op == "placeholder":
            tensor = constant_tensor(self._program, node)
            return None if tensor is None else tensor.detach()
        if node.op != "call_function" or node.kwargs or not isinstance(node.target, torch._ops.OpOverload):
            return None
        inputs = {child: self.value(child) for child in node.all_input_nodes}
        if not inputs or any(value is None for value in inputs.values()):
            return None
        with torch.no_grad():
            return node.target(*map_arg(node.args, inputs.__getitem__))

    def add(self, name: str, data: Tensor) -> Node:
        """A buffer of the program; a name that is there already is the same constant of another memory."""
        return add_constant(self._program, name, data)
