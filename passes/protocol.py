"""What a graph pass is: what it needs, what it promises, what it did, and what it left alone.

A pass takes a whole `torch.export.ExportedProgram` and returns a new one with a report. It declares by properties
(`spartanc.passes.properties`) what must hold before it (`requires`), what holds after it (`provides`) and what no
longer does (`breaks`), so that an order can be proved without a model. `holds` checks what it provides on the program
that it returned, and again after every later pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from torch.export import ExportedProgram

from spartanc.passes.properties import PassProperty


@dataclass(frozen=True)
class Skipped:
    """A site that a pass looked at and left alone: `node` is its name in the graph, `reason` says why."""

    node: str
    reason: str


@dataclass
class PassReport:
    """What one pass did. `changes` counts sites rewritten; `notes` holds what else a reader would want to know."""

    name: str
    changes: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


class GraphPass(ABC):
    """One rewrite of an exported program.

    requires, provides, breaks: members of `Property`; anything else, a misspelt word for one, is refused when the class
    is made.
    tolerance: largest difference of the outputs that the rewrite may cause on real inputs, in parts of the outputs'
    scale (1 for logits) or of the largest output where that is larger; 0.0 is bit-exact. The runner measures it.
    """

    name: str
    requires: frozenset[PassProperty] = frozenset()
    provides: frozenset[PassProperty] = frozenset()
    breaks: frozenset[PassProperty] = frozenset()
    tolerance: float = 0.0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for field_name in ("requires", "provides", "breaks"):
            declared = getattr(cls, field_name)
            unknown = [each for each in declared if not isinstance(each, PassProperty)]
            if not isinstance(declared, frozenset) or unknown:
                raise TypeError(f"`{cls.__name__}.{field_name}` must be a frozenset of properties, got {declared!r}")

    @abstractmethod
    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        """Return the rewritten program, never the changed input, and what was done."""

    def holds(self, program: ExportedProgram) -> str | None:
        """None if what the pass provides is true of `program`, else what is wrong and where."""
        return None
