"""Our own kernels for int8 linears (`spartan::linear_int8`); XNNPACK has the rest."""

from __future__ import annotations

from collections.abc import Sequence

from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.backends.xnnpack import Xnnpack
from spartanc.compiler.stage import Stage
from spartanc.passes.protocol import GraphPass
from spartanc.passes.quantize_linears import QuantizeLinears


class SpartanKernels(Xnnpack):
    kernels = "spartan"

    def quantizing_stages(self, scheme: Scheme) -> list[Stage]:
        return []

    def quantizing_passes(self, scheme: Scheme) -> Sequence[GraphPass]:
        return [] if scheme.is_exact else [QuantizeLinears(keep_logits=True)]


SPARTAN_KERNELS = SpartanKernels()
