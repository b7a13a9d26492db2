"""The scale of attention goes into the query's weights, once, in place of every score.

before:  q = view(linear(x, weight, bias)) ...permute;   bmm(q, k) * s      (or / s)
after:   q = view(linear(x, weight * s, bias * s)) ...permute;   bmm(q, k)

A rotation of the queries by their positions may stand between: it turns what it gets, of whatever length.

Left alone, with the reason: a scale that isn't a number, queries that something else reads, weights that are computed.
Exact to the rounding of one product where s is no power of two; bit-exact where it is.
"""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import VIEWS, aten, shape_of, transposition
from spartanc.passes.rotation import rotation

_PRODUCTS = (aten.bmm.default, aten.matmul.default)
_SCALES = (aten.mul.Tensor, aten.div.Tensor)


class FoldAttentionScale(GraphPass):
    name = "fold_attention_scale"
    requires = frozenset({Property.ATTENTION_IN_THREE_DIMENSIONS})
    provides = frozenset({Property.ATTENTION_SCALE_FOLDED})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        for node in [node for node in program.graph.nodes if _is_scaled_product(node)]:
            scale, query, reason = _site(program, node)
            if query is None:
                report.skipped.append(Skipped(node.name, reason))
                continue
            _scale_linear(program, query, scale)
            node.replace_all_uses_with(node.args[0])
            report.changes += 1
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in program.graph.nodes:
            if _is_scaled_product(node) and _site(program, node)[1] is not None:
                return f"`{node.name}` still scales scores"
        return None


def _is_scaled_product(node: Node) -> bool:
    source = node.args[0] if node.args else None
    if node.target not in _SCALES or not isinstance(source, Node) or source.target not in _PRODUCTS:
        return False
    return len(shape_of(source.args[1])) > 2  # a product by one matrix gives no scores


def _site(program: ExportedProgram, node: Node) -> tuple[float, Node | None, str]:
    """The factor, and the linear that it can go into; None and the reason where there is none."""
    number = node.args[1]
    if isinstance(number, bool) or not isinstance(number, int | float) or number == 0:
        return 0.0, None, "the scale isn't a number"
    scale = float(number) if node.target is aten.mul.Tensor else 1 / number
    product = node.args[0]
    found, reader = product.args[0], product
    while list(found.users) == [reader] and (turned := _step(found)) is not None:
        found, reader = turned
    if found.op == "placeholder" or not (found.target in (aten.linear.default, *VIEWS) or transposition(found)):
        return scale, None, f"queries come from `{found.target}`, not from a linear"
    if len(product.users) > 1 or list(found.users) != [reader]:
        return scale, None, "scores or queries are read by something else too"
    if any(constant_tensor(program, each) is None for each in found.args[1:] if each is not None):
        return scale, None, "the query's weights are computed, not stored"
    return scale, found, ""


def _step(node: Node) -> tuple[Node, Node] | None:
    """What queries are before `node`, and which node reads that; None if `node` does more than place or turn them."""
    if node.target in VIEWS or transposition(node) is not None:
        return node.args[0], node
    turned = rotation(node)
    if turned is None or len(turned.x.users) != 2 or turned.x.target not in VIEWS:
        return None
    return turned.x.args[0], turned.x


def _scale_linear(program: ExportedProgram, linear: Node, scale: float) -> None:
    for index, what in ((1, "weight"), (2, "bias")):
        if len(linear.args) > index and linear.args[index] is not None:
            tensor = constant_tensor(program, linear.args[index])
            assert tensor is not None
            made = add_constant(
                program, f"{linear.name}_scaled_{what}", tensor.detach() * scale, InputKind.CONSTANT_TENSOR
            )
            linear.update_arg(index, made)
