"""Which row of a table an index picks for every distance between two positions.

An index [.., L, L] that depends on the length alone is computed at every length that the program takes. It is one of
distances if its rows hold the same numbers a place further on in each next one, and those of a shorter text are the
beginning of a longer one's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.evaluate import Dependencies, evaluate, token_inputs


class Distances:
    """Reads indices of one program; layers compute the same anew, which is read once."""

    def __init__(self, program: ExportedProgram):
        self._program = program
        self._depends = Dependencies(program)
        self._inputs = token_inputs(program)
        self._known: dict[str, Tensor | None] = {}

    def rows(self, index: Node) -> Tensor | None:
        """[2 N - 1]: the row for a position less the other, from 1 - N to N - 1, N being the largest length.

        None where the index is not one of distances, the same for all that stands before its last two dimensions.
        """
        if self._inputs is None or self._depends.of(index):
            return None
        key = _expression(index)
        if key not in self._known:
            self._known[key] = self._read(index)
        return self._known[key]

    def _read(self, index: Node) -> Tensor | None:
        assert self._inputs is not None
        longest = self._inputs[1]
        whole = self._square(index, longest)
        if whole is None:
            return None
        rows = torch.cat([whole[0, 1:].flip(0), whole[:, 0]])
        places = torch.arange(longest)
        if not torch.equal(whole, rows[places[:, None] - places[None, :] + longest - 1]):
            return None
        for length in range(1, longest):
            square = self._square(index, length)
            if square is None or not torch.equal(square, whole[:length, :length]):
                return None
        return rows

    def _square(self, index: Node, length: int) -> Tensor | None:
        """[length, length] of an index that is the same for every head."""
        assert self._inputs is not None
        given = dict.fromkeys(self._inputs[0], torch.zeros(1, length, dtype=torch.int64))
        value = evaluate(self._program, index, given)
        if value.shape[-2:] != (length, length):
            return None
        squares = value.reshape(-1, length, length)
        return squares[0] if (squares == squares[:1]).all() else None


def _expression(node: Node) -> str:
    """What computes `node`, the same text for the same computation on the same inputs."""
    texts: dict[Node, str] = {}
    numbers: dict[str, int] = {}

    def text(argument: Node) -> str:
        return f"#{numbers[texts[argument]]}"

    for each in _before(node):
        if each.op == "placeholder":
            texts[each] = each.name
        else:
            arguments = torch.fx.node.map_arg((each.args, dict(each.kwargs)), text)
            texts[each] = f"{each.target}{arguments}"
        numbers.setdefault(texts[each], len(numbers))
    return "\n".join(numbers)


def _before(node: Node) -> list[Node]:
    """`node` and all that it reads, each after what it reads itself."""
    ordered: dict[Node, None] = {}
    stack = [node]
    while stack:
        current = stack[-1]
        missing = [source for source in current.all_input_nodes if source not in ordered]
        if missing:
            stack.extend(missing)
        else:
            ordered[stack.pop()] = None
    return list(ordered)
