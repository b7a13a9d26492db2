"""What a rule returns that only rearranges: a formula, and the same from where something was computed last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spartanc.passes.index_notation import Inexpressible, Tensor


@dataclass(frozen=True)
class Value:
    """A node's formula, and the same tensor seen from the last node that computes rather than rearranges."""

    tensor: Tensor
    root: Tensor | None

    def changed(self, change: Callable[[Tensor], Tensor]) -> Value:
        """Both views after a rearrangement; where the second has none, the result is a source of its own."""
        tensor = change(self.tensor)
        try:
            return Value(tensor, None if self.root is None else change(self.root))
        except Inexpressible:
            return Value(tensor, None)
