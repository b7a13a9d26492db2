"""All sparsifiers, by name."""

from __future__ import annotations

from spartanc.models.sparsifiers.drawn import DRAWN
from spartanc.models.sparsifiers.magnitude import MAGNITUDE
from spartanc.models.sparsifiers.second_order import SECOND_ORDER
from spartanc.models.sparsifiers.sparsifier import Sparsifier
from spartanc.models.sparsifiers.spartan import SPARTAN
from spartanc.models.sparsifiers.top_kast import TOP_KAST

SPARSIFIERS: tuple[Sparsifier, ...] = (SECOND_ORDER, MAGNITUDE, DRAWN, TOP_KAST, SPARTAN)


def find_sparsifier(name: str) -> Sparsifier:
    """By the name that `--sparsifier` takes; KeyError where there is none."""
    return {each.name: each for each in SPARSIFIERS}[name]
