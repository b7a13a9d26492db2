"""Results as frozen dataclasses whose fields are those of a command's `--json` document, in its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields, is_dataclass
from typing import Any

OPTIONAL = {"optional": True}  # metadata of a field that a document has only if it is not None


@dataclass(frozen=True)
class Result:
    """Base of all results."""

    def as_json(self) -> dict[str, Any]:
        """The document: plain values, dictionaries and lists; without the optional fields that have no value."""
        return {each.name: _plain(value) for each, value in self._given()}

    def _given(self) -> list[tuple[Field[Any], Any]]:
        pairs = [(each, getattr(self, each.name)) for each in fields(self)]
        return [(each, value) for each, value in pairs if value is not None or "optional" not in each.metadata]


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.as_json()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
