"""TorchScript: the model as a traced, frozen module of stock operators, for runtimes that have no ExecuTorch.

A legacy format: upstream has deprecated TorchScript, and new runtimes are better served by a `.pte`. The
file's signature is the contract of every program: `forward(input_ids int64[1,L], attention_mask int64[1,L])
-> [1,C]`.

A trace records one run. Whatever that run decided from the length would be wrong for another, without an
error: so the saved file is loaded in a process of its own, which has torch and nothing of this project, and
run at every length before it counts as written.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spartanc.errors import CompileError, GateError
from spartanc.runtime_py.devices.stock import StockDevice

STOCK_NAMESPACES = ("aten", "prim")
TOLERANCE = 1e-4
_TRACED_LENGTH = 7
_EVERY_LENGTH_UP_TO = 128


def emit_torchscript(module: nn.Module, path: Path, max_length: int) -> None:
    """Trace and freeze `module`, write it to `path`, and prove the file at every length from 1 to
    `max_length`.

    Above 128 the lengths are 1 to 128, powers of two with their neighbours, and the longest. `module` takes
    (input_ids, attention_mask), both int64 [1, L]; it is put into eval mode.
    Raises CompileError where the trace fails or holds an operator that stock torch lacks, GateError where
    the file disagrees with eager.
    """
    module = module.eval()
    traced = _trace(module, max_length)
    foreign = sorted(name for name in _operators(traced) if name.split("::")[0] not in STOCK_NAMESPACES)
    if foreign:
        raise CompileError(
            f"the traced model holds `{foreign[0]}`, which stock torch does not have",
            hint="give the model in plain PyTorch operators",
        )
    torch.jit.save(traced, str(path))
    difference = _compare(module, path, lengths_to_try(max_length))
    if not difference <= TOLERANCE:
        path.unlink()
        raise GateError(
            f"the TorchScript program differs from eager PyTorch by {difference:.3g} (at most {TOLERANCE:g} allowed)",
            hint="a branch on the length or on values does not survive tracing",
        )


def lengths_to_try(max_length: int) -> tuple[int, ...]:
    lengths = set(range(1, min(max_length, _EVERY_LENGTH_UP_TO) + 1)) | {max_length}
    power = 2 * _EVERY_LENGTH_UP_TO
    while power <= max_length:
        lengths |= {length for length in (power - 1, power, power + 1) if length <= max_length}
        power *= 2
    return tuple(sorted(lengths))


def _trace(module: nn.Module, max_length: int) -> torch.jit.ScriptModule:
    # Not 1, which would hide a broadcast, and not the maximum, which would hide a slice.
    length = min(_TRACED_LENGTH, max_length)
    ids = torch.zeros(1, length, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, length // 2 + 1 :] = 0
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # Tracing warns of deprecation and of every shape that becomes a constant; the proof decides on
            # both.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(module, (ids, mask), check_trace=False)
            return torch.jit.freeze(traced)
    except Exception as error:
        raise CompileError(f"the model could not be traced: {str(error).strip().splitlines()[0]}") from error


def _operators(traced: torch.jit.ScriptModule) -> set[str]:
    return {node.kind() for node in _all_nodes(traced.inlined_graph)}


def _all_nodes(graph):
    for node in graph.nodes():
        yield node
        for block in node.blocks():
            yield from _all_nodes(block)


def _compare(module: nn.Module, path: Path, lengths: tuple[int, ...]) -> float:
    """Largest difference from eager over `lengths`, the second half of every other row masked out."""
    generator = torch.Generator().manual_seed(0)
    rows: list[tuple[Tensor, Tensor]] = []
    vocabulary = _vocabulary(module)
    for length in lengths:
        ids = torch.randint(0, vocabulary, (1, length), generator=generator)
        mask = torch.ones_like(ids)
        if length % 2 == 0:
            mask[0, length // 2 :] = 0
        rows.append((ids, mask))
    arrays = [(ids.numpy(), mask.numpy()) for ids, mask in rows]
    got = StockDevice().run(path.parent, path, arrays)
    worst = 0.0
    with torch.inference_mode():
        for (ids, mask), logits in zip(rows, got, strict=True):
            difference = np.abs(module(ids, mask)[0].numpy() - logits)
            worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max()))
    return worst


def _vocabulary(module: nn.Module) -> int:
    """Rows of the largest embedding: the one of the words."""
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    return max(tables, default=2)
