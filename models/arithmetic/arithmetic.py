"""What an arithmetic gives a training: other forwards for linears, embeddings and memories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from spartanc.models.memory import Memory

Forward = Callable[[Tensor], Tensor]


class Arithmetic(ABC):
    """Forwards that round as a program does, with gradients as if nothing had been rounded (straight through).

    name: as `--arithmetic` takes it and as model.pt has it.
    """

    name: str

    @abstractmethod
    def linear(self, part: nn.Linear, precision: str) -> Forward | None:
        """In place of `part`'s own; None leaves that. precision: of products with frozen weights, fp32 or bf16."""

    @abstractmethod
    def embedding(self, part: nn.Embedding) -> Forward | None:
        """In place of the token table's own; None leaves that."""

    def check_memories(self, hidden: int) -> None:  # noqa: B027 (most take every size)
        """Raise UsageError where `memory` has no form for memories of this hidden size."""

    @abstractmethod
    def memory(self, memory: Memory) -> Forward:
        """In place of `memory`'s own."""
