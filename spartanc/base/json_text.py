"""JSON as every reader takes it."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: Any, *, ascii_only: bool, indent: int | None = 1) -> str:
    """`value` as JSON. It has no word for numbers that are not finite: null stands for them."""
    return json.dumps(_finite(value), ensure_ascii=ascii_only, indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
