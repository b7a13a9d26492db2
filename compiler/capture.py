"""Capture: a classifier in eval mode becomes one `ExportedProgram` of batch 1 and dynamic length.

The program's signature is a contract: `forward(input_ids int64[1,L], attention_mask int64[1,L]) -> logits [1,C]`,
L from 1, or the least that the encoder can be captured for, to `max_length`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from spartanc.compiler.canonical_order import in_canonical_order
from spartanc.errors import CompileError, UsageError

SHORTEST_LIMIT = 2  # a dimension that can only be 1 would be a constant, not a length


def example_inputs(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [1, length]; id 0 exists in every vocabulary."""
    return torch.zeros(1, length, dtype=torch.long), torch.ones(1, length, dtype=torch.long)


def dynamic_shapes(max_length: int, min_length: int = 1) -> tuple[dict[int, Dim], dict[int, Dim]]:
    length = Dim("length", min=min_length, max=max_length)
    return {1: length}, {1: length}


def check_longest(max_length: int, min_length: int = 1) -> None:
    """UsageError for a longest input that leaves no other length beside the shortest."""
    least = max(SHORTEST_LIMIT, min_length + 1)
    if max_length < least:
        raise UsageError(f"`--max-length` must be at least {least}, got `{max_length}`")


def capture(module: nn.Module, max_length: int, min_length: int = 1) -> ExportedProgram:
    """Export `module` for inputs [1, L], `min_length` <= L <= `max_length`.

    Raises UsageError for a `max_length` below 2 or not above `min_length`, CompileError where torch.export refuses the
    model.
    """
    check_longest(max_length, min_length)
    # The example is longer than 1 because torch.export takes a dimension of 1 for a constant.
    inputs = example_inputs(min(max_length, 8))
    try:
        with torch.no_grad():  # inference tensors could not be captured again after quantisation
            program = torch.export.export(
                module.eval(), inputs, dynamic_shapes=dynamic_shapes(max_length, min_length), strict=False
            )
    except Exception as error:
        raise CompileError(
            f"torch.export could not capture the model: {_first_line(error)}",
            hint="the classifier's forward must be pure PyTorch with no branch on values",
        ) from error
    return in_canonical_order(program.run_decompositions({}))


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
