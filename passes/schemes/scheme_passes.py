"""What a scheme does to a program: which passes take memories, embeddings, attention and a task's own linears."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from spartanc.passes.memory_site import FormChoice
from spartanc.passes.protocol import GraphPass
from spartanc.passes.weight_grids import WeightGrid


def _nothing(_: object) -> list[GraphPass]:
    return []


@dataclass(frozen=True)
class SchemePasses:
    """The passes of one scheme.

    memories: the pass that gives memories the form their kernels read.
    linears: what weights of the backbone's linears become, which a backend's own means do; None leaves them in fp32.
    embeddings: of the tables, told whether only stock operators may be used.
    attention: of attention, told the same.
    head: of the linears that a task of a shared program brings, told the names of the task's tensors.
    """

    memories: Callable[[FormChoice], GraphPass]
    linears: WeightGrid | None = None
    embeddings: Callable[[bool], list[GraphPass]] = _nothing
    attention: Callable[[bool], list[GraphPass]] = _nothing
    head: Callable[[Collection[str]], list[GraphPass]] = _nothing
