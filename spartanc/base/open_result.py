"""Results that have further fields in some cases: another metric, a baseline, stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from spartanc.base.results import Result


@dataclass(frozen=True)
class OpenResult(Result):
    """document: the whole document, with the fields that not every result of its kind has."""

    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """From a command's `--json` document. A field that it lacks is None."""
        known = [each.name for each in fields(cls) if each.name != "document"]
        return cls(**{name: document.get(name) for name in known}, document=document)

    def as_json(self) -> dict[str, Any]:
        """The document."""
        return dict(self.document)
