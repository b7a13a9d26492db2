"""What the linears of a program read on real inputs, for passes that fit numbers to data.

The rows that a pass fits to are a program's own texts: a hundred of them show what an encoder's channels are like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Interpreter, Node

from spartanc.passes.last_linear import gives_the_logits
from spartanc.passes.program import constant_tensor

Inputs = Sequence[tuple[Tensor, ...]]  # of a program: one tuple of its inputs for each text
_LINEAR = torch.ops.aten.linear.default


def stored_weights(program: ExportedProgram, linear: Node) -> tuple[Tensor, Tensor | None]:
    """Weight [N, K] and bias [N] of one of `stored_linears`."""
    weight = constant_tensor(program, linear.args[1])
    assert weight is not None, f"`{linear.name}` computes its weight"
    bias = constant_tensor(program, linear.args[2]) if len(linear.args) > 2 and linear.args[2] is not None else None
    return weight.detach(), None if bias is None else bias.detach()


def stored_linears(program: ExportedProgram) -> list[Node]:
    """Linears whose weights and bias are stored in fp32, but for the one that gives the logits."""
    return [node for node in program.graph.nodes if node.target is _LINEAR and _is_stored(program, node)]


def by_weight(linears: Sequence[Node]) -> list[list[Node]]:
    """The linears of each stored weight, in order: several where one layer is applied more than once (ALBERT)."""
    found: dict[Node, list[Node]] = {}
    for node in linears:
        found.setdefault(node.args[1], []).append(node)
    return list(found.values())


def _is_stored(program: ExportedProgram, node: Node) -> bool:
    constants = [constant_tensor(program, each) for each in node.args[1:] if isinstance(each, Node)]
    return all(each is not None and each.dtype is torch.float32 for each in constants) and not gives_the_logits(node)


def see_inputs(
    program: ExportedProgram, nodes: Sequence[Node], inputs: Inputs, see: Callable[[Node, Tensor], None]
) -> None:
    """Run `program` on `inputs`; `see` is called with each of `nodes` and the rows [R, K] that it reads."""

    def watch(node: Node, rows: Tensor) -> None:
        see(node, rows.reshape(-1, rows.shape[-1]))

    run_with(program, dict.fromkeys(nodes, watch), inputs)


def run_with(
    program: ExportedProgram, forms: Mapping[Node, Callable[[Node, Tensor], Tensor | None]], inputs: Inputs
) -> list[Tensor]:
    """The program's first output for each of `inputs`, some linears computed by another form.

    forms: of a linear, from the node and what it reads to its result; None leaves that to the linear itself.
    """

    class WithForms(Interpreter):
        def run_node(self, node: Node) -> Any:
            found = forms[node](node, self.env[node.args[0]]) if node in forms else None
            return super().run_node(node) if found is None else found

    names = set(program.graph_signature.user_inputs)
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    outputs: list[Tensor] = []
    with torch.no_grad():
        for given in inputs:
            mine = iter(given)
            values = [next(mine) if node.name in names else constant_tensor(program, node) for node in placeholders]
            outputs.append(WithForms(program.graph_module).run(*values)[0])
    return outputs
