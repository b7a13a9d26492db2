"""Our operators as torch sees them: schema, shape and eager reference, one file per operator."""

from __future__ import annotations

from functools import cache


@cache
def register() -> None:
    """Make all of them known to torch; `spartanc.passes` does so before it imports a pass."""
    from spartanc.passes.ops import (
        attention,
        layer_norm,
        linear_int8,
        memory_lookup,
        mixed_linear,
        relative_attention,
        widen,
        window_attention,
    )

    attentions = (attention, relative_attention, window_attention)
    for module in (memory_lookup, *attentions, layer_norm, linear_int8, widen, mixed_linear):
        module.register()
