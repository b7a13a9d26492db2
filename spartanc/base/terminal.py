"""Terminals that can't show every character get escapes for those, never an error."""

from __future__ import annotations

import codecs
import sys
from typing import Any, TextIO


def can_show_unicode(stream: TextIO | Any) -> bool:
    """Whether `stream` takes any character."""
    try:
        return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")
    except (AttributeError, LookupError):
        return False


def escape_what_cannot_be_shown() -> None:
    """From now on stdout and stderr write `\\xe9` and the like where their encoding has no such character."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and not can_show_unicode(stream):
            stream.reconfigure(errors="backslashreplace")
