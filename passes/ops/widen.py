"""`spartan::widen`: float16 to float32, for the tensors of a task that come in as inputs.

Stock operators convert too, an element at a time: for a short text that took a twentieth of the whole run.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.passes.ops.memory_lookup import NAMESPACE

_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_library.define("widen(Tensor x) -> Tensor")
_library.define("widen.out(Tensor x, *, Tensor(a!) out) -> Tensor(a!)")


def widen(x: Tensor) -> Tensor:
    """`x` float16 of any shape, as float32: exact."""
    torch._check(x.dtype is torch.float16, lambda: f"widen takes float16, got {x.dtype}")
    return x.float()


def _widen_out(x: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(widen(x))


_library.impl("widen", widen, "CompositeExplicitAutograd")
_library.impl("widen.out", _widen_out, "CompositeExplicitAutograd")


@torch.library.register_fake(f"{NAMESPACE}::widen", lib=_library)
def _shape(x: Tensor) -> Tensor:
    return torch.empty_like(x, dtype=torch.float32)
