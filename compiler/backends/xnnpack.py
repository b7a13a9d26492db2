"""XNNPACK: takes all that it can, with int8 linears by PT2E, 4-bit ones by a pass; our operators run beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.backends.backend import Backend
from spartanc.compiler.lower import xnnpack_partitioner
from spartanc.compiler.stage import Stage
from spartanc.compiler.steps import QuantizeLinears
from spartanc.passes.protocol import GraphPass
from spartanc.passes.quantize_linears_int4 import QuantizeLinearsInt4
from spartanc.passes.schemes.catalogue import passes_of


class Xnnpack(Backend):
    def quantizing_stages(self, scheme: Scheme) -> list[Stage]:
        grid = passes_of(scheme).linears
        return [] if grid is None or grid.bits == 4 else [QuantizeLinears(scheme.name)]

    def quantizing_passes(self, scheme: Scheme) -> Sequence[GraphPass]:
        grid = passes_of(scheme).linears
        return [] if grid is None or grid.bits == 8 else [QuantizeLinearsInt4()]

    def partitioners(self) -> list[Any]:
        return [xnnpack_partitioner()]


XNNPACK = Xnnpack()
