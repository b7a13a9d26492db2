"""The file of a training's course beside its model, one JSON line an evaluation, to be read while the training runs.

docs/training.md says what the fields are; `training_course.py` makes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spartanc.base.files import write_whole
from spartanc.base.json_text import json_text
from spartanc.errors import UsageError


def metrics_path(out: Path) -> Path:
    """`model.metrics.jsonl` for `model.pt`: models that share a folder have a file each."""
    return out.with_name(f"{out.stem}.metrics.jsonl")


class MetricsFile:
    """Lines are added as evaluations end; a training that goes on keeps those up to its checkpoint."""

    def __init__(self, path: Path):
        self.path = path

    def begin(self, step: int) -> None:
        """Keep the lines up to `step` and no others.

        Evaluations after the last checkpoint are done again, so their lines would be there twice. Raises UsageError
        where the file can't be written.
        """
        kept = [line for line in self._lines() if line["step"] <= step] if step else []
        self._try(lambda: write_whole(self.path, "".join(_line(each) for each in kept)))

    def add(self, record: dict[str, Any]) -> None:
        """Append a line. Raises UsageError where that fails."""

        def append() -> None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(record))

        self._try(append)

    def _lines(self) -> list[dict[str, Any]]:
        """Those that are whole: a kill may have cut the last one short."""
        lines = []
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []
        for line in text.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and {"step", "seconds"} <= record.keys():
                lines.append(record)
        return lines

    def _try(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            raise UsageError(f"cannot write `{self.path}`: {error.strerror}", hint="is there room?") from error


def _line(record: dict[str, Any]) -> str:
    return json_text(record, ascii_only=True, indent=None) + "\n"
