"""What a quantisation scheme is to everything that holds no tensor: options, manifests, task files, estimates, gates.

What it does to a program stands in `spartanc.passes.schemes`, in a file of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TaskSizes = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True)
class Scheme:
    """One way to hold a program's weights.

    name: as `--quantize` takes it and as manifests and task files have it.
    gates: which gates a program of this scheme has to pass, by their name in `spartanc.compiler.proof`.
    peak: which of `Target.peak_macs_per_cycle` its products with weights reach; for estimates.
    fp32_weights_in_one: how many times smaller a weight is than in fp32; for estimates.
    task_sizes: the tensors of a memory that a shared program takes as inputs, by the operator's argument, each with the
        dimensions that tasks differ in: {dimension: word of `task_file.sizes_of`}.
    labels_kept: share of the texts' labels that fitting a program to them aims at.
    wider: the scheme whose form linears take that would cost too many labels in this one's; None where there are none.
    hidden_multiple: the hidden size must be a multiple of it.
    stock_forms: whether stock operators can hold a program of this scheme, so that `--lowering portable` takes it.
    """

    name: str
    gates: str
    peak: str
    fp32_weights_in_one: int
    task_sizes: TaskSizes
    labels_kept: float = 1.0
    wider: Scheme | None = None
    hidden_multiple: int = 1
    stock_forms: bool = True

    @property
    def is_exact(self) -> bool:
        """Whether weights stay in fp32, so that results differ from eager's by rounding alone."""
        return self.fp32_weights_in_one == 1

    @property
    def linear_bits(self) -> int:
        """Of a weight of a linear."""
        return 32 // self.fp32_weights_in_one

    @property
    def bytes_a_weight(self) -> float:
        """Of one weight of a linear, without scales."""
        return 4 / self.fp32_weights_in_one
