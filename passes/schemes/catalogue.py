"""The passes of every scheme, by its name in `spartanc.base.schemes.catalogue`."""

from __future__ import annotations

from spartanc.base.schemes.scheme import Scheme
from spartanc.passes.schemes.int4 import INT4
from spartanc.passes.schemes.int4_memories import INT4_MEMORIES
from spartanc.passes.schemes.int8 import INT8
from spartanc.passes.schemes.none import NONE
from spartanc.passes.schemes.scheme_passes import SchemePasses

_PASSES = {"none": NONE, "int8": INT8, "int4": INT4, "int4-memories": INT4_MEMORIES}


def passes_of(scheme: Scheme) -> SchemePasses:
    """What `scheme` does to a program."""
    return _PASSES[scheme.name]
