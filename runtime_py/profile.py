"""Where the time goes: an ETDump's operators as a table."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

# OPERATOR_CALL wraps an event of the kernel's own, and counting both would count twice. Those of ExecuTorch's kernels
# are `native_call_NAME`; ours carry their full names.
_KERNEL = re.compile(r"^(?:native_call_|(?=spartan::))(.+)$")
_DELEGATE = "DELEGATE_CALL"
_EXECUTE = "Method::execute"
_INSTANCE = re.compile(r"\s*#\d+$")


@dataclass(frozen=True)
class OperatorTime:
    """All calls of one operator in one run: their number, median milliseconds in all, share of the run."""

    name: str
    delegate: str | None
    calls: int
    ms: float
    share: float


def operator_times(etdump: Path) -> list[OperatorTime]:
    """The operators of a run, longest first. Those inside a delegate carry its name; what the delegates spent beside
    them, and what ExecuTorch spent between operators, are rows of their own.

    Needs the executorch package, and with it torch.
    """
    # Imported here: it brings torch, which nothing else of this package needs.
    from executorch.devtools import Inspector

    calls: defaultdict[tuple[str, str | None], int] = defaultdict(int)
    spent: defaultdict[tuple[str, str | None], float] = defaultdict(float)
    whole = delegated = in_delegates = 0.0
    for block in Inspector(etdump_path=str(etdump)).event_blocks:
        for event in block.events:
            if event.perf_data is None:
                continue
            ms = float(event.perf_data.p50)
            if event.name == _EXECUTE:
                whole += ms
            elif event.name == _DELEGATE:
                delegated += ms
            elif event.is_delegated_op:
                key = (_INSTANCE.sub("", event.name), event.delegate_backend_name or "XNNPACK")
                calls[key] += 1
                spent[key] += ms
                in_delegates += ms
            elif kernel := _KERNEL.match(event.name):
                key = (kernel[1], None)
                calls[key] += 1
                spent[key] += ms
    outside = sum(ms for (_, delegate), ms in spent.items() if delegate is None)
    rows = [
        OperatorTime(name, delegate, calls[name, delegate], ms, _share(ms, whole))
        for (name, delegate), ms in spent.items()
    ]
    for name, ms in (
        ("inside delegates, beside their operators", delegated - in_delegates),
        ("between operators", whole - delegated - outside),
    ):
        if ms > 0:
            rows.append(OperatorTime(name, None, 0, ms, _share(ms, whole)))
    return sorted(rows, key=lambda row: -row.ms)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
