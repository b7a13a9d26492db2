"""Find SPARTAN's memory in an exported graph and replace it by one operator, `spartan::memory_lookup`.

Source: arXiv 2211.16634, section 3; the operator's definition is in `spartanc.compiler.ops.memory_lookup`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument
from torch.fx import Node

import spartanc.compiler.ops.memory_lookup  # noqa: F401  (defines the operator)
from spartanc.passes.dataflow import NOT_NORMALISED, SMALLEST, THRESHOLD, Dataflow, leads_to_threshold
from spartanc.passes.index_notation import (
    Chosen,
    Digit,
    Dim,
    Leaf,
    Pick,
    Product,
    Restricted,
    Selection,
    Softmax,
    Tensor,
    merged,
    overlap,
    selections,
    size,
    size_of,
    without,
)
from spartanc.passes.probe import Probe
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped

aten = torch.ops.aten
MEMORY_LOOKUP = torch.ops.spartan.memory_lookup.default


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
    provides = frozenset({"memories_fused"})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, FusionReport]:
        with torch.no_grad():
            program = copy_program(program.run_decompositions({}))
        matcher = _Matcher(program)
        for site in matcher.sites:
            site.same_x = matcher.rearranged(site.x)
        report = FusionReport(self.name)
        for site in matcher.sites:
            reason = _refused(program, site)
            if reason is not None:
                report.skipped.append(Skipped(reason.node, reason.reason))
                continue
            _replace(program, site)
            report.changes += 1
        report.skipped.extend(matcher.skipped())
        return _finished(program) if report.changes else program, report

    def holds(self, program: ExportedProgram) -> str | None:
        matcher = _Matcher(program)
        for site in matcher.sites:
            site.same_x = matcher.rearranged(site.x)
        usable = [site for site in matcher.sites if _refused(program, site) is None]
        return None if not usable else f"a memory is left at `{usable[0].node.name}`"


def fuse_memories(program: ExportedProgram) -> tuple[ExportedProgram, FusionReport]:
    """`program` with every memory in it as one operator, and what was fused and what was left alone.

    Works on any exported program, with static or dynamic shapes; `program` itself stays as it is.
    """
    return FuseMemories().run(program)


# -- match ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Rows of length H out of a tensor of any layout: its dimensions that run over rows, then those over H."""

    node: Node
    order: tuple[int, ...]
    rows: sympy.Expr
    hidden: sympy.Expr


@dataclass
class Site:
    """A memory in the graph: `node` computes y."""

    node: Node
    dims: tuple[Dim, ...]
    x: Node
    x_order: tuple[int, ...]
    positions: tuple[Dim, ...]
    hidden: Dim
    parents: Table
    parent_scale: float
    keys: Table
    values: Table
    top_k: int
    temperature: float
    selections: frozenset[Selection] = field(default_factory=frozenset)
    same_x: frozenset[Node] = field(default_factory=frozenset)


class _Mismatch(Exception):
    """Why a finished formula is no memory."""


class _Matcher:
    """All memories of a program, and the selections in it that belong to none."""

    def __init__(self, program: ExportedProgram):
        self.sites: list[Site] = []
        self.mismatches: dict[Node, tuple[frozenset[Selection], str]] = {}
        self.flow = Dataflow(program, self._complete)

    def _complete(self, node: Node, tensor: Tensor) -> bool:
        if node.meta["val"].dtype != torch.float32:
            return False
        try:
            site = match(node, tensor)
        except _Mismatch:
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
            except _Mismatch as mismatch:
                return Skipped(source.name, str(mismatch))
        return Skipped(refusal.node.name, refusal.reason)


def _longer(selection: Selection) -> tuple[Product, Dim]:
    """Rankings of one vector, whatever their length."""
    return selection.logits, selection.over


def match(node: Node, tensor: Tensor, flow: Dataflow | None = None) -> Site | None:
    """The memory that a formula is; None if it is not even a sum of values by two weights.

    Raises _Mismatch with the reason for one that resembles a memory and is none.
    """
    formula = tensor.formula
    if not isinstance(formula, Product):
        return None
    weights = [f for f in formula.factors if not isinstance(f, Leaf)]
    leaves = [f for f in formula.factors if isinstance(f, Leaf)]
    if len(weights) != 2 or len(leaves) != 1:
        return None
    if any(isinstance(f, Restricted) for f in weights):
        raise _Mismatch(NOT_NORMALISED)
    chosen = [f for f in weights if isinstance(f, Chosen)]
    if len(chosen) == 2:
        raise _Mismatch("the children's softmax runs over chosen parents")
    if chosen:
        (children,) = (f for f in weights if isinstance(f, Softmax))
        return _site(node, tensor, chosen[0], children, leaves[0], flow)
    problem: _Mismatch | None = None
    for parent, child in (weights, weights[::-1]):
        assert isinstance(parent, Softmax) and isinstance(child, Softmax)
        if len(parent.over) == 1 and isinstance(parent.over[0], Pick):
            pick = parent.over[0]
            if size(pick.rank) != pick.size:
                raise _Mismatch(NOT_NORMALISED)
        try:
            everyone = Chosen(Selection(parent.logits, parent.over, int(size(parent.over)), True), 1.0, parent.over)
            return _site(node, tensor, everyone, child, leaves[0], flow)
        except (_Mismatch, TypeError) as mismatch:
            problem = problem or (mismatch if isinstance(mismatch, _Mismatch) else None)
    raise problem or _Mismatch("the weights are not those of parents and children")


def _site(node: Node, tensor: Tensor, parent: Chosen, child: Softmax, values: Leaf, flow: Dataflow | None) -> Site:
    formula = tensor.formula
    assert isinstance(formula, Product)
    selection = parent.selection
    if not selection.largest:
        raise _Mismatch(SMALLEST)
    x, parents = _sides(selection.logits, selection.over, tensor, flow)
    keys_index = None
    x_child, keys = _sides(child.logits, child.over, tensor, flow)
    _check_same_x(x, x_child, selection.logits, child.logits)
    hidden_parent = _bound_dims(parents, selection.logits)
    keys_index = tuple(dim for dim in keys.index if not _is_bound(dim, child.logits))
    rows = _flat(keys_index)
    wanted = merged((*parent.index, *child.over))
    if rows != wanted:
        raise _Mismatch(_why_rows(rows, parent, child))
    if _flat(_without_suffix(values, wanted)) != wanted:
        raise _Mismatch(_why_values(values, wanted))
    hidden_values = _rest(values, wanted)
    _check_sum(tensor, formula, wanted, x, selection.logits, hidden_values)
    if formula.coefficient != 1.0:
        raise _Mismatch(f"the weights are multiplied by {formula.coefficient}")
    scale = selection.logits.coefficient * parent.scale
    if not (math.isfinite(child.logits.coefficient) and child.logits.coefficient > 0):
        raise _Mismatch(f"the temperature is 1/{child.logits.coefficient}, not above 0")
    if any(leaf.node.meta["val"].dtype != torch.float32 for leaf in (x, parents, keys, values)):
        raise _Mismatch("the memory is not in fp32")
    _check_order(x, selection.logits, parents, selection.logits)
    _check_order(x_child, child.logits, keys, child.logits)
    outer = [at for at, dim in enumerate(x.index) if not _is_bound(dim, selection.logits)]
    positions = tuple(x.index[at] for at in outer)
    x_order = (*outer, *(at for at in range(len(x.index)) if at not in outer))
    hidden = tuple(d for dim in x.index if _is_bound(dim, selection.logits) for d in dim)
    if size(hidden) != size(_flat(hidden_values)) or size(hidden) != size(_flat(hidden_parent)):
        raise _Mismatch("the values are not as long as x")
    return Site(
        node=node,
        dims=tensor.dims,
        x=x.node,
        x_order=x_order,
        positions=positions,
        hidden=_flat(hidden_values),
        parents=_table(parents, hidden_parent),
        parent_scale=scale,
        keys=_table(keys, _bound_dims(keys, child.logits)),
        values=_table(values, hidden_values),
        top_k=selection.count,
        temperature=_temperature(child.logits.coefficient),
        selections=frozenset((selection, *(p.selection for p in parent.index if isinstance(p, Pick)))),
    )


def _temperature(scale: float) -> float:
    """1 / scale, undoing the rounding of a reciprocal where a short decimal number was meant."""
    exact = 1.0 / scale
    short = float(f"{exact:.12g}")
    return short if math.isclose(short, exact, rel_tol=1e-14) else exact


def _sides(logits: Product, over: Dim, tensor: Tensor, flow: Dataflow | None) -> tuple[Leaf, Leaf]:
    """(x, matrix) of logits: x has the positions of the result, the matrix has not."""
    if len(logits.factors) != 2 or not all(isinstance(f, Leaf) for f in logits.factors):
        reason = "logits that are not the product of x with constant rows"
        for factor in logits.factors:
            why = flow.why.get(factor.node) if flow and isinstance(factor, Leaf) else None
            if why:
                reason += f": {why}"
        raise _Mismatch(reason)
    outer = [d for dim in tensor.dims for d in dim if isinstance(d, Digit)]
    first, second = logits.factors
    assert isinstance(first, Leaf) and isinstance(second, Leaf)
    for x, matrix in ((first, second), (second, first)):
        single = not _own(x, logits)  # one vector without positions
        if (
            _rows_only(matrix, logits, outer)
            and _constant_like(matrix.node)
            and (single or not _rows_only(x, logits, outer))
        ):
            return x, matrix
    raise _Mismatch("logits that are not the product of x with constant rows")


def _rows_only(leaf: Leaf, logits: Product, outer: list[Digit]) -> bool:
    """Whether a source has no index of its own that the result has too."""
    return not any(overlap(d, o) for d in _own(leaf, logits) for o in outer)


def _own(leaf: Leaf, logits: Product) -> list[Digit]:
    """The variables of a source that are not summed over."""
    return [d for dim in leaf.index for d in dim if isinstance(d, Digit) and not _is_bound((d,), logits)]


def _constant_like(node: Node) -> bool:
    """Whether a tensor is the same for every position: an input of the program, or made of such without x."""
    return node.op == "placeholder" or all(_constant_like(n) for n in node.all_input_nodes)


def _is_bound(dim: Dim, logits: Product) -> bool:
    return any(isinstance(d, Digit) and overlap(d, b) for d in dim for b in logits.bound)


def _bound_dims(leaf: Leaf, logits: Product) -> tuple[Dim, ...]:
    return tuple(dim for dim in leaf.index if _is_bound(dim, logits))


def _flat(dims: tuple[Dim, ...]) -> Dim:
    return merged(tuple(index for dim in dims for index in dim))


def _check_same_x(x: Leaf, other: Leaf, logits: Product, other_logits: Product) -> None:
    if x.node is not other.node:
        raise _Mismatch("parents and children look at different vectors")
    for mine, theirs in zip(x.index, other.index, strict=True):
        if _is_bound(mine, logits) != _is_bound(theirs, other_logits):
            raise _Mismatch("parents and children look along different axes of x")
        if not _is_bound(mine, logits) and mine != theirs:
            raise _Mismatch("parents and children look at different positions")


def _check_order(x: Leaf, x_logits: Product, matrix: Leaf, logits: Product) -> None:
    of_x = _flat(_bound_dims(x, x_logits))
    of_matrix = _flat(_bound_dims(matrix, logits))
    if of_x != of_matrix or sum(_is_bound((d,), logits) for d in logits.bound) != len(logits.bound):
        raise _Mismatch("x and the rows are multiplied in different orders")


def _without_suffix(values: Leaf, wanted: Dim) -> tuple[Dim, ...]:
    return tuple(dim for dim in values.index if _touches(dim, wanted))


def _rest(values: Leaf, wanted: Dim) -> tuple[Dim, ...]:
    return tuple(dim for dim in values.index if not _touches(dim, wanted))


def _touches(dim: Dim, wanted: Dim) -> bool:
    for index in dim:
        for other in wanted:
            if index == other:
                return True
            if isinstance(index, Pick) and isinstance(other, Pick):
                return True
            if isinstance(index, Pick) or isinstance(other, Pick):
                continue
            if overlap(index, other):
                return True
    return any(isinstance(index, Pick) for index in dim)


def _why_rows(rows: Dim, parent: Chosen, child: Softmax) -> str:
    picks = [i for i in rows if isinstance(i, Pick)]
    own = [i for i in parent.index if isinstance(i, Pick)]
    if picks and own and picks[0].selection != own[0].selection:
        return "the cells are those that another selection chose"
    if bool(picks) != bool(own):
        return "the parents' weights and the cells are not of the same parents"
    over = [i for i in child.over if isinstance(i, Digit)]
    inside = [d for i in parent.index for d in ((i,) if isinstance(i, Digit) else i.rank)]
    if any(isinstance(d, Digit) and overlap(d, o) for d in inside for o in over):
        return "the children's softmax runs over several parents, a wrong axis"
    if sorted(map(repr, rows)) == sorted(map(repr, (*parent.index, *child.over))):
        return "the cells are not stored parent by parent"
    if own and any(isinstance(i, Pick) for i in child.over):
        return "the children's softmax runs over the chosen parents, a wrong axis"
    return "the children's softmax runs over a wrong axis, or the cells are not stored parent by parent"


def _why_values(values: Leaf, wanted: Dim) -> str:
    picks = [i for dim in values.index for i in dim if isinstance(i, Pick)]
    own = [i for i in wanted if isinstance(i, Pick)]
    if own or picks:
        return "keys and values are read at different rows"
    return "keys and values are not in the same order"


def _check_sum(
    tensor: Tensor, formula: Product, wanted: Dim, x: Leaf, logits: Product, hidden: tuple[Dim, ...]
) -> None:
    """Everything that says which cell is summed over, and nothing else."""
    cells = [d for index in wanted for d in ((index,) if isinstance(index, Digit) else index.rank)]
    for digit in cells:
        if isinstance(digit, Digit) and without(digit, formula.bound):
            raise _Mismatch("not all cells are summed up")
    for bound in formula.bound:
        if without(bound, cells):
            raise _Mismatch("a sum over more than the cells")
    out = sorted(repr(d) for dim in tensor.dims for d in dim)
    positions = tuple(dim for dim in x.index if not _is_bound(dim, logits))
    need = sorted(repr(d) for dim in (*positions, *hidden) for d in dim)
    split_out = sorted(repr(d) for d in _flat(tuple((d,) for dim in tensor.dims for d in dim)))
    if out != need and split_out != need:
        raise _Mismatch("the result does not have one vector for every position")


def _table(leaf: Leaf, hidden: tuple[Dim, ...]) -> Table:
    columns = [at for at, dim in enumerate(leaf.index) if dim in hidden and dim != ()]
    others = [at for at in range(len(leaf.index)) if at not in columns]
    shape = leaf.node.meta["val"].shape
    rows = sympy.Mul(*(sympy.sympify(int(shape[at])) for at in others))
    length = sympy.Mul(*(sympy.sympify(int(shape[at])) for at in columns))
    return Table(leaf.node, (*others, *columns), rows, length)


# -- check -------------------------------------------------------------------------------------------------------


def _refused(program: ExportedProgram, site: Site) -> Skipped | None:
    """Why a memory that was found must stay as it is, or None."""
    inner = interior(site)
    for node in inner - {site.node}:
        for user in node.users:
            if not _harmless(user, inner):
                return Skipped(node.name, f"`{user.name}` reads an intermediate of the memory too")
    if _layout(site) is None:
        return Skipped(site.node.name, "the result's layout cannot be made from x's")
    problem = Probe(program).disagreement(
        site.node,
        x=site.x,
        tables={t.node for t in (site.parents, site.keys, site.values)},
        replacement=lambda held: _eager(site, held),
    )
    return None if problem is None else Skipped(site.node.name, problem)


def _harmless(user: Node, inner: set[Node]) -> bool:
    """Whether a reader of an intermediate is part of the memory, has no effect, or asks for nothing but its shape."""
    if user in inner or _is_check(user):
        return True
    if user.op == "output":
        return False
    return all(reader in inner for reader in user.users) and (user.target in _SHAPE_ONLY or not user.users)


def _is_check(user: Node) -> bool:
    return user.op == "call_function" and user.target is aten._assert_tensor_metadata.default


def interior(site: Site) -> set[Node]:
    """The nodes between x and y, y with them: those that only the memory may read."""
    stops = {site.x, site.parents.node, site.keys.node, site.values.node}
    depends_on_x: dict[Node, bool] = {}

    def visit(node: Node) -> bool:
        if node is site.x:
            return True
        if node in stops or node.op == "placeholder" or not _is_tensor(node):
            return False
        if node not in depends_on_x:
            depends_on_x[node] = False
            if node.target not in _SHAPE_ONLY:
                depends_on_x[node] = any([visit(source) for source in node.all_input_nodes])
        return depends_on_x[node]

    visit(site.node)
    return {node for node, yes in depends_on_x.items() if yes and node not in site.same_x}


def _is_tensor(node: Node) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, torch.SymInt | int | float)


_SHAPE_ONLY = {
    aten.full_like.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.new_full.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.empty_like.default,
}
_RESHAPING = {
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.flatten.using_ints,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.squeeze.default,
}


def _layout(site: Site) -> tuple[str, tuple[int, ...]] | None:
    """How the operator's result [positions of x, H] becomes the dimensions of y: `same`, or `view` or `permute`."""
    natural = (*site.positions, site.hidden)
    if natural == site.dims:
        return "same", ()
    if _flat(natural) == _flat(site.dims):
        return "view", ()
    if sorted(map(repr, natural)) == sorted(map(repr, site.dims)):
        order: list[int] = []
        for dim in site.dims:
            order.append(next(at for at, mine in enumerate(natural) if mine == dim and at not in order))
        return "permute", tuple(order)
    return None


def _eager(site: Site, held: dict[Node, torch.Tensor]) -> torch.Tensor:
    """The operator on concrete tensors, with the dimensions of y in order, though perhaps not yet split or joined."""

    def rows(table: Table) -> torch.Tensor:
        return held[table.node].permute(table.order).reshape(int(table.rows), int(table.hidden))

    x = held[site.x].permute(site.x_order).flatten(len(site.positions))
    parents = rows(site.parents) * site.parent_scale
    y = MEMORY_LOOKUP(x.contiguous(), parents, rows(site.keys), rows(site.values), site.top_k, site.temperature)
    layout = _layout(site)
    assert layout is not None
    return y.permute(layout[1]) if layout[0] == "permute" else y


# -- rewrite -----------------------------------------------------------------------------------------------------


def _replace(program: ExportedProgram, site: Site) -> None:
    graph = program.graph
    parents = _rows(program, site, site.parents, "parents", site.parent_scale)
    keys = _rows(program, site, site.keys, "keys")
    values = _rows(program, site, site.values, "values")
    with graph.inserting_before(site.node):
        x = site.x
        if site.x_order != tuple(range(len(site.x_order))):
            x = _call(graph, aten.permute.default, (x, list(site.x_order)))
        if len(site.x_order) > len(site.positions) + 1:
            x = _call(graph, aten.flatten.using_ints, (x, len(site.positions), -1))
        y = _call(graph, MEMORY_LOOKUP, (x, parents, keys, values, site.top_k, site.temperature))
        layout = _layout(site)
        assert layout is not None
        if layout[0] == "permute":
            y = _call(graph, aten.permute.default, (y, list(layout[1])))
        elif layout[0] == "view":
            y = _call(graph, aten.reshape.default, (y, _target_shape(graph, site)))
    site.node.replace_all_uses_with(y)
    if layout[0] == "view":
        _drop_reshapes(y)
    for node in interior(site) | {site.node}:
        for user in list(node.users):
            if _is_check(user):
                graph.erase_node(user)


def _drop_reshapes(reshaped: Node) -> None:
    """Where the model itself brings y back to x's shape, both reshapes go."""
    y = reshaped.args[0]
    assert isinstance(y, Node)
    node = reshaped
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node.target not in _RESHAPING:
            return
        if [size_of(n) for n in node.meta["val"].shape] == [size_of(n) for n in y.meta["val"].shape]:
            node.replace_all_uses_with(y)
            return


def _rows(program: ExportedProgram, site: Site, table: Table, role: str, scale: float = 1.0) -> Node:
    """A table as [rows, H]: the tensor itself, a new constant where it is stored otherwise, or computed from inputs."""
    node = table.node
    moved = table.order != tuple(range(len(table.order)))
    if not moved and len(table.order) == 2 and scale == 1.0:
        return node
    shape = [int(table.rows), int(table.hidden)]
    stored = constant_tensor(program, node)
    if stored is not None:
        rows = stored.detach().permute(table.order).reshape(shape)
        return add_constant(program, f"{site.node.name}_{role}", (rows * scale if scale != 1.0 else rows).clone())
    graph = program.graph
    with graph.inserting_before(site.node):
        if moved:
            node = _call(graph, aten.permute.default, (node, list(table.order)))
        if len(table.order) != 2:
            node = _call(graph, aten.reshape.default, (node, shape))
        if scale != 1.0:
            node = _call(graph, aten.mul.Tensor, (node, scale))
    return node


def _target_shape(graph: torch.fx.Graph, site: Site) -> list[int | Node]:
    """y's shape as arguments of a reshape; its dynamic sizes come from x, all but one, which torch works out."""
    shape: list[int | Node] = []
    guessed = False
    for at, length in enumerate(site.node.meta["val"].shape):
        if isinstance(length, int):
            shape.append(length)
        elif not guessed:
            guessed = True
            shape.append(-1)
        else:
            source = site.x_order[site.positions.index(site.dims[at])]
            shape.append(_call(graph, aten.sym_size.int, (site.x, source)))
    return shape


def _call(graph: torch.fx.Graph, target, arguments: tuple) -> Node:
    """A call with the `meta` that the tools downstream read."""
    node = graph.call_function(target, arguments)
    values = torch.fx.node.map_arg(arguments, lambda n: n.meta["val"])
    node.meta["val"] = target(*values)
    return node


def _finished(program: ExportedProgram) -> ExportedProgram:
    """The program with its outputs' new names in the signature, and without what no one reads any more."""
    output = next(node for node in reversed(program.graph.nodes) if node.op == "output")
    for spec, node in zip(program.graph_signature.output_specs, output.args[0], strict=True):
        if isinstance(node, Node) and isinstance(spec.arg, TensorArgument):
            spec.arg = TensorArgument(name=node.name)
    return finish(program)
