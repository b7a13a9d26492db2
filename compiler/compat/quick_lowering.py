"""What makes ExecuTorch's lowering quicker without changing its result.

Two things cost most of a lowering's time and do nothing for an encoder:

* Every pass over every delegate records for each node where it came from, and copies the whole record of the passes
  before, deeply. The records are never written to once made, so copies may share them.
* XNNPACK's passes about convolutions, upsampling, batch norms and so on are run over every delegate, and each traces
  it anew, whether or not it holds such an operator. Here a pass is run where an operator that it is about is there.

Both are put back afterwards. ExecuTorch can be asked for neither: `to_edge_transform_and_lower` takes no pass manager
and has no switch for the records. With another version than the one that this was tried with, it lowers as it is.
Compare `tests/compiler/compat/test_quick_lowering.py`: the same bytes with and without.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from executorch.backends.xnnpack import _passes, xnnpack_preprocess
from torch.export import ExportedProgram
from torch.fx.traceback import NodeSource

TRIED_WITH = "1.5.1"  # of ExecuTorch
# Passes of XNNPACKPassManager that can be left out, by the words of which an operator's name must hold one.
# Every other pass is run everywhere.
_ABOUT: dict[str, tuple[str, ...]] = {
    "ConvertToUpsampleBilinear2d": ("index", "upsample"),
    "ConvertToSDPAPass": ("mul.Scalar",),
    "FuseBatchNormPass": ("batch_norm",),
    "DecomposeBatchNorm": ("batch_norm",),
    "FuseActivationPass": ("relu", "hardtanh", "clamp"),
    "DecomposeConcatenate": ("cat",),
    "InsertPadQDQPass": ("pad",),
    "Conv1dUnsqueezePass": ("conv",),
    "PReLUReshapePass": ("prelu",),
}


class _NeededPasses(_passes.XNNPACKPassManager):
    """XNNPACK's pass manager without the passes that have nothing to do in this delegate."""

    def __init__(self, exported_program: ExportedProgram, passes: list[Any] | None = None) -> None:
        super().__init__(exported_program, passes)
        self.passes: list[Any]
        if not passes:
            names = [str(node.target) for node in exported_program.graph.nodes if node.op == "call_function"]
            self.passes = [each for each in self.passes if _has_work(each, names)]


def _has_work(each: Any, operators: list[str]) -> bool:
    words = _ABOUT.get(each.__name__)
    return words is None or any(word in operator for operator in operators for word in words)


@contextmanager
def quick_lowering() -> Iterator[None]:
    """Lower quickly inside; not for several threads at once, as lowering itself isn't."""
    if importlib.metadata.version("executorch").partition("+")[0] != TRIED_WITH:
        yield
        return
    manager = xnnpack_preprocess.XNNPACKPassManager
    xnnpack_preprocess.XNNPACKPassManager = _NeededPasses
    NodeSource.__deepcopy__ = lambda self, memo: self
    try:
        yield
    finally:
        xnnpack_preprocess.XNNPACKPassManager = manager
        del NodeSource.__deepcopy__
