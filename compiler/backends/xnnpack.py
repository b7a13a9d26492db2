"""XNNPACK: takes all that it can, with int8 linears by PT2E; our operators run beside it."""

from __future__ import annotations

from typing import Any

from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.backends.backend import Backend
from spartanc.compiler.lower import xnnpack_partitioner
from spartanc.compiler.stage import Stage
from spartanc.compiler.steps import QuantizeLinears
from spartanc.passes.schemes.catalogue import passes_of


class Xnnpack(Backend):
    def quantizing_stages(self, scheme: Scheme) -> list[Stage]:
        bits = passes_of(scheme).linear_bits
        return [] if bits is None else [QuantizeLinears(scheme.name)]

    def partitioners(self) -> list[Any]:
        return [xnnpack_partitioner()]


XNNPACK = Xnnpack()
