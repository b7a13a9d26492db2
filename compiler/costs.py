"""What a captured program costs, operator by operator: multiply-adds and bytes as polynomials of the length.

Every size in these programs is constant or linear in the length L, so a product of two of them is a polynomial of
degree two, and three lengths give it exactly. The manifest keeps the figures; `spartanc bench` estimates with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

_LENGTHS = (16, 32, 64)
# They move no byte, or only name a shape.
_SHAPE_ONLY = frozenset(
    (
        *("view", "reshape", "permute", "transpose", "t", "expand", "unsqueeze", "squeeze"),
        *("select", "slice", "alias", "clone", "detach", "sym_size", "getitem"),
    )
)


def operator_costs(program: ExportedProgram) -> list[dict[str, Any]]:
    """One entry an operator: `op`, `calls`, `macs` and `activation_bytes` as coefficients of 1, L, L², `weight_bytes`.

    `program` is one with at most one dynamic dimension, the length, and no quantisation yet.
    """
    signature = program.graph_signature
    weights = {
        *signature.inputs_to_parameters,
        *signature.inputs_to_buffers,
        *signature.inputs_to_lifted_tensor_constants,
    }
    found: dict[str, dict[str, Any]] = {}
    for node in program.graph.nodes:
        if node.op != "call_function" or _short_name(node) in _SHAPE_ONLY or not _values(node):
            continue
        entry = found.setdefault(
            _name(node), {"calls": 0, "macs": [0.0] * 3, "activation_bytes": [0.0] * 3, "weight_bytes": 0}
        )
        entry["calls"] += 1
        _add(entry["macs"], partial(_macs, node))
        _add(entry["activation_bytes"], partial(_activation_bytes, node, weights))
        entry["weight_bytes"] += _weight_bytes(node, weights)
    rows = [{"op": name, **entry} for name, entry in found.items()]
    return sorted(rows, key=lambda row: -sum(row["macs"]) - row["weight_bytes"])


def _name(node: Node) -> str:
    target = node.target
    return target.name() if isinstance(target, torch._ops.OpOverload) else getattr(target, "__name__", str(target))


def _short_name(node: Node) -> str:
    return _name(node).rpartition("::")[2].partition(".")[0].removesuffix("_copy")


def _values(node: Node) -> list[torch.Tensor]:
    value = node.meta.get("val")
    values = value if isinstance(value, (list, tuple)) else [value]
    return [each for each in values if isinstance(each, torch.Tensor)]


def _tensor_arguments(node: Node) -> Iterator[tuple[Node, torch.Tensor]]:
    for argument in node.all_input_nodes:
        for value in _values(argument)[:1]:
            yield argument, value


def _at(size: int | torch.SymInt, length: int) -> int:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    return int(expression.subs(dict.fromkeys(expression.free_symbols, length)))


def _shape(tensor: torch.Tensor, length: int) -> list[int]:
    return [_at(size, length) for size in tensor.shape]


def _macs(node: Node, length: int) -> float:
    """Multiply-adds of contractions; other operators count none, their bytes tell."""
    name = _short_name(node)
    shapes = [_shape(value, length) for _, value in _tensor_arguments(node)]
    out = _shape(_values(node)[0], length)
    if name == "memory_lookup":
        x, parents, keys = shapes[:3]
        chosen = next(argument for argument in node.args if isinstance(argument, int))
        cells = chosen * (keys[0] // parents[0])
        return prod(x[:-1]) * x[-1] * (parents[0] + 2 * cells)
    if name in ("attention", "attention_half"):
        positions = _shape(node.args[1].meta["val"], length)[1]
        tables = sum(isinstance(each, Node) for each in node.args[4:6])  # of distances: of each as many as positions
        return (2 * prod(out) + tables * prod(out)) * positions
    if name in ("window_attention", "window_attention_half"):
        return 2 * prod(out) * (2 * node.args[4] + 1)  # at most: texts shorter than a window have fewer keys
    if name == "linear":
        return prod(out) * shapes[0][-1]
    if name in ("mm", "bmm", "matmul"):
        return prod(out) * shapes[0][-1]
    if name == "addmm":
        return prod(out) * _shape(node.args[1].meta["val"], length)[-1]
    if name == "scaled_dot_product_attention":
        query, key = shapes[:2]
        return 2 * prod(query) * key[-2]
    return 0.0


def _activation_bytes(node: Node, weights: set[str], length: int) -> float:
    read = [
        prod(_shape(value, length)) * value.element_size()
        for argument, value in _tensor_arguments(node)
        if argument.name not in weights
    ]
    written = [prod(_shape(value, length)) * value.element_size() for value in _values(node)]
    return float(sum(read) + sum(written))


def _weight_bytes(node: Node, weights: set[str]) -> int:
    if _short_name(node) == "embedding":
        return 0  # a row for each token, which its output counts
    return sum(
        value.numel() * value.element_size() for argument, value in _tensor_arguments(node) if argument.name in weights
    )


def _add(coefficients: list[float], at: Callable[[int], float]) -> None:
    """Add to `coefficients` those of the polynomial of degree two through three points."""
    (a, b, c), (fa, fb, fc) = _LENGTHS, map(at, _LENGTHS)
    slope_ab, slope_bc = (fb - fa) / (b - a), (fc - fb) / (c - b)
    square = (slope_bc - slope_ab) / (c - a)
    linear = slope_ab - square * (a + b)
    for i, value in enumerate((fa - linear * a - square * a * a, linear, square)):
        coefficients[i] += value
