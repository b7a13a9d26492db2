"""The processes of one training, as `accelerate launch` starts them: each has its share of every batch.

A batch is the whole training's, whatever the number of processes, so that the same settings mean the same training.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, distributed


def process_count() -> int:
    """As the launcher says; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of all processes' `x`, in each of them.

    Gradients are those of `x` times the number of processes: DistributedDataParallel takes the mean of gradients, which
    makes them the sum's.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return x
    whole = x.detach().clone()
    distributed.all_reduce(whole)
    return whole + distributed.get_world_size() * (x - x.detach())


def mean_over_processes(mean: Tensor, weight: Tensor) -> Tensor:
    """The mean over all rows of a batch, given each process's own and how much its rows count in all.

    mean: a number, of any value where `weight` is 0.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return mean  # to the bit
    own = torch.where(weight > 0, mean * weight, torch.zeros_like(mean))
    return sum_over_processes(own) / sum_over_processes(weight)
