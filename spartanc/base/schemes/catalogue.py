"""All schemes, and how a name is looked up."""

from __future__ import annotations

from spartanc.base.schemes.int4 import INT4
from spartanc.base.schemes.int4_memories import INT4_MEMORIES
from spartanc.base.schemes.int8 import INT8
from spartanc.base.schemes.none import NONE
from spartanc.base.schemes.scheme import Scheme
from spartanc.errors import UsageError

SCHEMES = {scheme.name: scheme for scheme in (NONE, INT8, INT4, INT4_MEMORIES)}
QUANTIZATIONS = tuple(SCHEMES)


def find_scheme(name: str) -> Scheme:
    """The scheme called `name`; UsageError if there is none."""
    try:
        return SCHEMES[name]
    except KeyError:
        raise UsageError(f"unknown `--quantize {name}`", hint=f"one of {', '.join(SCHEMES)}") from None
