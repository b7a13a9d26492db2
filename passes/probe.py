"""Compute a part of an exported graph on random numbers, to compare it with what is to stand in its place."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.dataflow import constants_of
from spartanc.passes.evaluate import NOT_GIVEN, run_node

# Beyond this many numbers in one tensor a probe is left out: the formulas have been compared already.
LARGEST = 1 << 26
# Sizes tried for dynamic dimensions: small, and different from one another.
DYNAMIC = (5, 3, 7, 4, 6)


class Probe:
    """Runs nodes of `program` with given tensors in place of some of its nodes."""

    def __init__(self, program: ExportedProgram):
        self.program = program
        self.constants = constants_of(program)
        self.sizes: dict[Any, int] = {}

    def disagreement(
        self,
        node: Node,
        x: Node,
        tables: set[Node],
        replacement: Callable[[dict[Node, torch.Tensor]], torch.Tensor],
    ) -> str | None:
        """None if `replacement` computes what `node` does from random `x` and `tables`, else what is wrong."""
        generator = torch.Generator().manual_seed(zlib.crc32(node.name.encode()))
        held: dict[Node, Any] = {}
        for source in sorted({x, *tables}, key=lambda n: n.name):
            shape = [self._size(n) for n in source.meta["val"].shape]
            scale = 1.0 if source is x else shape[-1] ** -0.5 * 2
            held[source] = torch.randn(shape, generator=generator) * scale
        try:
            with torch.no_grad():
                expected = run_node(node, held, self._given)
                got = replacement(held).reshape(expected.shape)
        except _TooLarge:
            return None
        except (IndexError, RuntimeError) as error:
            return f"the operator does not take its tensors as they stand ({error})"
        # Rows whose K-th and next parent are equal but for rounding may be chosen either way: so few may differ.
        off = ((got - expected).abs() > 1e-4 * expected.abs().max().clamp_min(1e-6)).any(-1)
        if off.sum() <= off.numel() // 50 and torch.isfinite(expected).all():
            return None
        return "it computes something else than the operator on random numbers"

    def _given(self, node: Node) -> Any:
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt):
            return self._size(value)
        if node.op != "placeholder":
            if isinstance(value, torch.Tensor) and value.numel() > LARGEST:
                raise _TooLarge
            return NOT_GIVEN
        if node in self.constants:
            return self.constants[node]
        return torch.zeros([self._size(n) for n in node.meta["val"].shape], dtype=node.meta["val"].dtype)

    def _size(self, size: int | torch.SymInt) -> int:
        if isinstance(size, int):
            return size
        expression = size.node.expr
        for symbol in sorted(expression.free_symbols, key=str):
            if symbol not in self.sizes:
                limits = self.program.range_constraints.get(symbol)
                wanted = DYNAMIC[len(self.sizes) % len(DYNAMIC)]
                if limits is not None:
                    wanted = int(min(max(wanted, limits.lower), limits.upper))
                self.sizes[symbol] = wanted
        return int(expression.subs(self.sizes))


class _TooLarge(Exception):
    pass
