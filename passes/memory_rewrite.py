"""One operator in place of a memory that was found: whether it may stand there, and how it is put there."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.index_notation import size_of
from spartanc.passes.memory_formula import Site, Table, flat
from spartanc.passes.probe import Probe
from spartanc.passes.program import add_constant, constant_tensor
from spartanc.passes.protocol import Skipped

aten = torch.ops.aten
MEMORY_LOOKUP = torch.ops.spartan.memory_lookup.default

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


def refused(program: ExportedProgram, site: Site) -> Skipped | None:
    """Why a memory that was found must stay as it is, or None."""
    inner = _interior(site)
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


def _interior(site: Site) -> set[Node]:
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


def _layout(site: Site) -> tuple[str, tuple[int, ...]] | None:
    """How the operator's result [positions of x, H] becomes the dimensions of y: `same`, or `view` or `permute`."""
    natural = (*site.positions, site.hidden)
    if natural == site.dims:
        return "same", ()
    if flat(natural) == flat(site.dims):
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


def replace_by_operator(program: ExportedProgram, site: Site) -> dict[Node, Node]:
    """Put the operator in place of `site`; the nodes that nothing reads any more, each with the one read instead."""
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
    replaced = {site.node: y}
    if layout[0] == "view":
        replaced |= _drop_reshapes(y)
    # Checks of a type that is known: x and parents have some where the memory widens them.
    for node in _interior(site) | {site.node, site.x, site.parents.node}:
        for user in list(node.users):
            if _is_check(user):
                graph.erase_node(user)
    return replaced


def _drop_reshapes(reshaped: Node) -> dict[Node, Node]:
    """Where the model itself brings y back to x's shape, both reshapes go: the last one, and what is read instead."""
    y = reshaped.args[0]
    assert isinstance(y, Node)
    node = reshaped
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node.target not in _RESHAPING:
            break
        if [size_of(n) for n in node.meta["val"].shape] == [size_of(n) for n in y.meta["val"].shape]:
            node.replace_all_uses_with(y)
            return {node: y}
    return {}


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
