"""A parameter that a module reads through a function of it, under its own name.

As torch's parametrisations do, but for names too that these refuse (`keys` and `values`, which memories have), and with
the names of the state dict as they were: a checkpoint of the training holds the parameter itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Read = Callable[[Tensor], Tensor]


def read_through(module: nn.Module, name: str, read: Read) -> None:
    """From now on `module.<name>` is `read` of the parameter, which stays where it was."""
    kind = type(module)
    given = property(lambda self: read(parameter_of(self, name)))
    module.__class__ = type(kind.__name__, (kind,), {name: given, "_read_plainly": kind, "__module__": kind.__module__})


def parameter_of(module: nn.Module, name: str) -> nn.Parameter:
    """The parameter itself, however it is read."""
    found = module._parameters[name]
    assert found is not None, f"`{name}` is no parameter"
    return found


def read_plainly(module: nn.Module, names: list[str]) -> None:
    """Take the functions away again; the parameters `names` are what was read last."""
    with torch.no_grad():
        for name in names:
            parameter_of(module, name).copy_(getattr(module, name))
    while "_read_plainly" in vars(type(module)):
        module.__class__ = vars(type(module))["_read_plainly"]
