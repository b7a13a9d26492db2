"""A factor and an addend behind a linear, as MobileBERT has them in place of LayerNorms, go into its weights.

before:  linear(x, W, b) * f + a                                  f, a [out], stored
after:   linear(x, f W, f b + a)

with a residual in between, which a linear that nothing else reads gives, or anything else:
before:  (linear(x, W, b) + linear(z, V, c)) * f + a              (linear(x, W, b) + r) * f + a
after:   linear(x, f W, f b + a) + linear(z, f V, f c)            linear(x, f W, f b + a) + r * f

Left alone: a factor of a sum of which more than one addend would have to be scaled. With the reason: a linear that
something else reads too, weights that are computed or that another linear reads. Exact to the rounding of one product
for each weight; the scales of int8 rows take the factors up whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten, call, shape_of

_LINEAR, _ADD, _MUL = aten.linear.default, aten.add.Tensor, aten.mul.Tensor


class FoldAffine(GraphPass):
    name = "fold_affine"
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        for node in list(program.graph.nodes):
            step = _step(program, node)
            if step is None:
                continue
            addends = _addends(step.x, node)
            reasons = [_why_not(program, *each) for each in addends]
            left = [each for each, reason in zip(addends, reasons, strict=True) if reason is not None]
            if len(left) == len(addends):
                report.skipped += [Skipped(node.name, reason) for reason in reasons if reason]
            elif not step.is_factor or len(left) <= 1:  # one product for the one that there was
                _fold(program, step, [each for each, _ in addends if each not in dict(left)], left)
                node.replace_all_uses_with(step.x)
                program.graph.erase_node(node)  # else it would still be a reader of the linear
                report.changes += 1
        return finish(program), report


@dataclass(frozen=True)
class _Step:
    """`x * constant`, or `x + constant`: a stored tensor [out]. name: of its node."""

    name: str
    x: Node
    constant: Node
    is_factor: bool


def _step(program: ExportedProgram, node: Node) -> _Step | None:
    if not _is_plain(node, _ADD, _MUL):
        return None
    for x, constant in (node.args, node.args[::-1]):
        stored = constant_tensor(program, constant)
        if stored is not None and stored.is_floating_point() and list(stored.shape) == shape_of(x)[-1:]:
            return _Step(node.name, x, constant, node.target is _MUL)
    return None


def _is_plain(node: Node, *targets: object) -> bool:
    """Whether it is one of `targets`, of two tensors and without further factors."""
    return node.target in targets and not node.kwargs and all(isinstance(each, Node) for each in node.args)


def _addends(x: Node, reader: Node) -> list[tuple[Node, Node]]:
    """What `x` is the sum of, each with its reader in the sum; a sum that something else reads is an addend itself."""
    if not _is_plain(x, _ADD) or x.args[0] is x.args[1] or list(x.users) != [reader]:
        return [(x, reader)]
    return [found for each in x.args for found in _addends(each, x)]


def _why_not(program: ExportedProgram, x: Node, reader: Node) -> str | None:
    """None where a step can go into `x`; the reason where it nearly can, and "" where there is no linear at all."""
    if x.target is not _LINEAR:
        return ""
    if list(x.users) != [reader]:
        return "what the linear gives is read by something else too"
    if any(constant_tensor(program, each) is None for each in _weights(x)):
        return "the linear's weights are computed, not stored"
    if any(len(each.users) > 1 for each in _weights(x)):
        return "another linear reads the same weights"
    return None


def _weights(linear: Node) -> list[Node]:
    return [each for each in linear.args[1:] if each is not None]


def _fold(program: ExportedProgram, step: _Step, linears: list[Node], left: list[tuple[Node, Node]]) -> None:
    """Let the sum `step.x` of `linears` and of what is `left` be what the step makes of it, in place."""
    for linear in linears if step.is_factor else linears[:1]:
        _fold_into_linear(program, linear, step)
    for each, reader in left if step.is_factor else []:
        with program.graph.inserting_before(reader):
            reader.replace_input_with(each, call(program.graph, _MUL, (each, step.constant)))


def _fold_into_linear(program: ExportedProgram, linear: Node, step: _Step) -> None:
    constant = _stored(program, step.constant)
    weight, *rest = (_stored(program, each) for each in _weights(linear))
    bias = rest[0] if rest else torch.zeros_like(constant)
    if step.is_factor:
        weight, bias = weight * constant[:, None], bias * constant
    else:
        bias = bias + constant
    made = [
        add_constant(program, f"{step.name}_{linear.name}_{what}", tensor, InputKind.CONSTANT_TENSOR)
        for what, tensor in (("weight", weight), ("bias", bias))
    ]
    linear.args = (linear.args[0], *made)


def _stored(program: ExportedProgram, node: Node) -> Tensor:
    found = constant_tensor(program, node)
    assert found is not None
    return found.detach()
