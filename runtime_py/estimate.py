"""What a bundle would take on boards that are not at hand: estimates, and never more than that.

A roofline: every operator takes at least its multiply-adds over the cores' peak, and at least its bytes over the
memory's bandwidth. Weights come from memory; activations too where they do not fit into the second-level cache.
Overheads, threads that wait and a processor that gets hot are left out, so a real board is slower.

`spartanc.runtime_py.board_model` models one core's time closer, from emulated counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spartanc.base.schemes.catalogue import find_scheme
from spartanc.base.schemes.none import NONE
from spartanc.base.targets.catalogue import all_targets
from spartanc.base.targets.target import Target


def estimates(
    costs: Sequence[Mapping[str, Any]], length: int, quantization: str, threads: int | None = None
) -> list[dict[str, Any]]:
    """One row for every board: `target`, `title`, `estimated_ms`, `bound_by` (arithmetic or memory), `threads`."""
    return [estimate(costs, target, length, quantization, threads) for target in all_targets() if not target.is_host]


def estimate(
    costs: Sequence[Mapping[str, Any]], target: Target, length: int, quantization: str, threads: int | None = None
) -> dict[str, Any]:
    """The least time that `target` can take for one input of `length` tokens."""
    cores = min(threads or target.cores, target.cores)
    seconds = {"arithmetic": 0.0, "memory": 0.0}
    for cost in costs:
        form = find_scheme(quantization) if cost["weight_bytes"] > 0 else NONE
        peak = target.peak_macs_per_cycle[form.peak] * target.clock_mhz * 1e6 * cores
        arithmetic = polynomial(cost["macs"], length) / peak
        moved = cost["weight_bytes"] / form.fp32_weights_in_one
        activations = polynomial(cost["activation_bytes"], length)
        if activations / max(cost["calls"], 1) > target.cache.l2:
            moved += activations
        memory = moved / (target.memory_gb_per_s * 1e9)
        seconds["arithmetic" if arithmetic >= memory else "memory"] += max(arithmetic, memory)
    return {
        "target": target.name,
        "title": target.title,
        "threads": cores,
        "length": length,
        "estimated_ms": sum(seconds.values()) * 1000,
        "bound_by": max(seconds, key=lambda name: seconds[name]),
    }


def polynomial(coefficients: Sequence[float], length: int) -> float:
    return sum(coefficient * length**power for power, coefficient in enumerate(coefficients))
