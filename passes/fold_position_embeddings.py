"""Embeddings that do not depend on the text become one table, read from its start.

before:  embedding(words, ids) + embedding(types, zeros) + embedding(positions, 0..L-1)
after:   embedding(words, ids) + slice(table [1, max, H], 0..L-1)             table = types[0] + positions

where the words' are mixed and projected first (MobileBERT), that stands in their place:
before:  linear(…) + embedding(positions, 0..L-1) + embedding(types, zeros)
after:   linear(…) + slice(table [1, max, H], 0..L-1)

where positions depend on the text (RoBERTa counts them from the padding on) and types do not:
before:  embedding(words, ids) + embedding(types, zeros) + embedding(positions, ids2)
after:   embedding(words, ids) + embedding(positions + types[0], ids2)

Which addends depend on the text is seen from the graph; which rows of their tables the others read is computed for
every length: those of a shorter text must be the beginning of those of the longest. The table stays in fp32 with every
quantisation.
Left alone, with the reason: segments and positions that depend on the text. Differs by the order of two additions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.evaluate import Dependencies, evaluate, token_inputs
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten, call, shape_of

_EMBEDDING = aten.embedding.default


class FoldPositionEmbeddings(GraphPass):
    name = "fold_position_embeddings"
    provides = frozenset({Property.FIXED_EMBEDDINGS_FOLDED})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        found = token_inputs(program)
        for root in _sums(program):
            depends = Dependencies(program)
            addends = _addends(root)
            if found is None:
                report.skipped.append(Skipped(root.name, "inputs are no ids and mask of one dynamic length"))
                continue
            fixed = _fixed(addends, depends)
            for each in addends:
                if each.target is _EMBEDDING and each not in fixed and each.args[1] not in found[0]:
                    report.skipped.append(Skipped(each.name, "its rows depend on the text"))
            table = _table(program, fixed, *found)
            if table is not None:
                _fold(program, root, addends, fixed, table, found[0][0])
                report.changes += len(fixed)
            elif fixed:
                report.skipped.append(Skipped(root.name, "its rows are no beginning of one table"))
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        depends, found = Dependencies(program), token_inputs(program)
        for root in _sums(program):
            fixed = _fixed(_addends(root), depends)
            if found is not None and _table(program, fixed, *found) is not None:
                return f"`{root.name}` adds embeddings that do not depend on the text"
        return None


def _sums(program: ExportedProgram) -> list[Node]:
    """The last of every chain of additions among whose addends are embeddings."""
    return [
        node
        for node in program.graph.nodes
        if _is_sum(node) and not (len(node.users) == 1 and all(_is_sum(user) for user in node.users))
    ]


def _is_sum(node: Node) -> bool:
    return node.target is aten.add.Tensor and any(each.target is _EMBEDDING for each in _addends(node))


def _fixed(addends: list[Node], depends: Dependencies) -> list[Node]:
    """Embeddings that don't depend on the text."""
    return [each for each in addends if each.target is _EMBEDDING and not depends.of(each)]


def _addends(node: Node) -> list[Node]:
    """What a chain of additions adds; one whose sum is read elsewhere too is an addend itself."""
    if node.target is not aten.add.Tensor or node.kwargs.get("alpha", 1) != 1:
        return [node]
    found = []
    for operand in node.args[:2]:
        if not isinstance(operand, Node):
            return [node]
        found += _addends(operand) if len(operand.users) == 1 else [operand]
    return found


def _fold(
    program: ExportedProgram, root: Node, addends: list[Node], fixed: list[Node], table: Tensor, ids: Node
) -> None:
    """Put `table` in place of the `fixed` addends of `root`; ids [1, L] has the length of the text."""
    others = [each for each in addends if each not in fixed]
    graph = program.graph
    one_row = bool((table == table[:, :1]).all())
    if one_row and (chosen := _smallest_table(program, others)) is not None:
        weight = constant_tensor(program, chosen.args[0])
        assert weight is not None
        made = add_constant(program, f"{chosen.name}_table", weight.detach() + table[0, 0], InputKind.CONSTANT_TENSOR)
        chosen.update_arg(0, made)
        rows = []
    else:
        made = add_constant(program, f"{root.name}_table", table, InputKind.CONSTANT_TENSOR)
        with graph.inserting_before(root):
            length = call(graph, aten.sym_size.int, (ids, 1))
            rows = [call(graph, aten.slice.Tensor, (made, 1, 0, length))]
    with graph.inserting_before(root):
        total = others[0]
        for each in [*others[1:], *rows]:
            total = call(graph, aten.add.Tensor, (total, each))
    root.replace_all_uses_with(total)


def _table(program: ExportedProgram, fixed: list[Node], inputs: list[Node], longest: int) -> Tensor | None:
    """[1, longest, H]: the sum of `fixed` at every position.

    None where there are none, or a shorter text doesn't get the beginning of what a longer one gets.
    """
    if not fixed:
        return None
    total = torch.zeros(())
    for each in fixed:
        weight = constant_tensor(program, each.args[0])
        chosen_1L = _rows(program, each, inputs, longest) if weight is not None else None
        if weight is None or chosen_1L is None:
            return None
        total = total + weight.detach()[chosen_1L]
    return total


def _rows(program: ExportedProgram, embedding: Node, inputs: list[Node], longest: int) -> Tensor | None:
    """[1, longest]: the rows of its table that `embedding` reads for the longest text; None if shorter ones differ."""

    def rows(length: int) -> Tensor:
        given = dict.fromkeys(inputs, torch.zeros(1, length, dtype=torch.int64))
        return evaluate(program, embedding.args[1], given).expand(1, length)

    whole = rows(longest)
    for length in range(1, longest):
        if not torch.equal(rows(length), whole[:, :length]):
            return None
    return whole


def _smallest_table(program: ExportedProgram, addends: list[Node]) -> Node | None:
    """The embedding with the fewest rows, among those beside the words' whose table nothing else reads."""
    fitting = [
        each
        for each in addends
        if each.target is _EMBEDDING
        and constant_tensor(program, each.args[0]) is not None
        and len(each.args[0].users) == 1
        and each.args[1].op != "placeholder"
    ]
    return min(fitting, key=lambda each: shape_of(each.args[0])[0], default=None)
