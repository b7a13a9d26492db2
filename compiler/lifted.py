"""The tensors of one task, lifted out of its program: what a shared program takes as inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spartanc.passes.lift_task_tensors import Lifted


@dataclass(frozen=True)
class ProgramInput:
    """One task tensor as the program takes it; a size is a number or a word of `task_file.sizes_of`."""

    name: str
    dtype: torch.dtype
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class LiftedTask:
    """What one model brings to a shared program.

    lifted: the program's module and the values of the tensors. bounds: the sizes that the program has to take, by the
    words that tasks differ in; those of this task at first.
    """

    lifted: Lifted
    inputs: tuple[ProgramInput, ...]
    bounds: dict[str, tuple[int, int]]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        return {each.name: each.value.numpy() for each in self.lifted.tensors}
