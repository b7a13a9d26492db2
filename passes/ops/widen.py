"""`spartan::widen`: float16 to float32, for the tensors of a task that come in as inputs.

Stock operators convert too, an element at a time: for a short text that took a twentieth of the whole run.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.passes.ops.define import define_operator


def widen(x: Tensor) -> Tensor:
    """`x` float16 of any shape, as float32: exact."""
    torch._check(x.dtype is torch.float16, lambda: f"widen takes float16, got {x.dtype}")
    return x.float()


def _shape(x: Tensor) -> Tensor:
    return torch.empty_like(x, dtype=torch.float32)


def register() -> None:
    define_operator("widen", "Tensor x", widen, _shape)
