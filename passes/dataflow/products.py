"""Products and sums: linear, matmul and einsum are one product of two tensors, summed over what does not come out."""

from __future__ import annotations

import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import argument, axis_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.layouts import reduced
from spartanc.passes.dataflow.masks import many_hot
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.dataflow.value import Value
from spartanc.passes.index_notation import Inexpressible, OneHot, Product, Tensor, contract, summed

aten = torch.ops.aten
rule = Rules()


@rule(aten.linear.default)
def _linear(flow: Dataflow, node: Node) -> Tensor:
    if argument(node, 2, "bias") is not None:
        raise Inexpressible("the linear layer has a bias")
    x, w = flow.value(node.args[0]), flow.value(node.args[1])
    front = [f"p{i}" for i in range(len(x.tensor.dims) - 1)]
    return flow.rooted(node, (x, w), lambda a, b: contract(a, [*front, "h"], b, ["n", "h"], [*front, "n"]))


@rule(aten.matmul.default, aten.mm.default, aten.bmm.default, aten.mv.default, aten.addmm.default, aten.baddbmm.default)
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


@rule(aten.einsum.default)
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


@rule(aten.sum.dim_IntList)
def _sum(flow: Dataflow, node: Node) -> Tensor:
    tensor = flow.tensor(node.args[0])
    listed = argument(node, 1, "dim")
    axes = {axis_of(tensor, d) for d in ([listed] if isinstance(listed, int) else listed or range(len(tensor.dims)))}
    keep = bool(argument(node, 2, "keepdim", False))
    if isinstance(tensor.formula, OneHot):
        return many_hot(tensor, axes, keep)
    if not isinstance(tensor.formula, Product) or not tensor.formula.factors:
        raise Inexpressible("a sum")
    formula = tensor.formula
    if node.meta["val"].dtype != torch.float32:
        raise Inexpressible("a sum that is not in fp32")
    for axis in axes:
        formula = summed(formula, tensor.dims[axis])
    return Tensor(reduced(tensor.dims, axes, keep), formula)
