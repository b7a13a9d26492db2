"""Rotary positions: which of their forms can be compiled."""

from __future__ import annotations

from typing import Any

from spartanc.errors import UnsupportedModelError

_BY_LENGTH = ("dynamic", "longrope")


def check_rotary(config: Any) -> None:
    """UnsupportedModelError where the angles of a position change with the length of its text."""
    given = config.rope_parameters
    for each in [given] if "rope_type" in given else given.values():
        if each is not None and each.get("rope_type") in _BY_LENGTH:
            raise UnsupportedModelError(
                f"rotary positions of `rope_type` `{each['rope_type']}` are not supported",
                hint="they turn by other angles in longer texts, and a program holds one table of them",
            )
