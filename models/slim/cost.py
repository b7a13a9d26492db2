"""What an encoder of some width takes on a board, from the target's data: the scale that a budget is in.

Cycles of one int8 inference of L tokens, one core: a sum over layers of products, activated units, elements of hidden
states, attention and weights on their way from memory, each at the rate that the board model finds in our programs
(docs/board-model.md). It compares widths of one encoder; for a program, `spartanc bench --device qemu` models the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spartanc.base.targets.target import Target
from spartanc.errors import MissingToolError, UsageError
from spartanc.models.encoders.adapter import EncoderAdapter
from spartanc.runtime_py.board_model.parameters import find_board

STEP = 32  # widths are whole panels of every kernel
NARROWEST = 0.1  # share of the units that stay at least


@dataclass(frozen=True)
class Shape:
    """Of an encoder: layers, hidden size, heads, units of a feed-forward."""

    layers: int
    hidden: int
    heads: int
    units: int


def shape_of(config: Any, adapter: EncoderAdapter) -> Shape:
    """From Hugging Face's config."""
    return Shape(
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        getattr(config, adapter.config_feed_forward),
    )


def modelled_ms(shape: Shape, target: Target, length: int) -> float:
    """One int8 inference of `length` tokens on one core. MissingToolError (exit 5) for a target without figures."""
    rates = target.encoder_cycles
    if rates is None:
        raise MissingToolError(
            f"how fast `{target.name}` is with encoders is not known", hint="boards with figures: rpi3, rpi4, rpi5"
        )
    weights = shape.hidden * (4 * shape.hidden + 2 * shape.units)
    tokens = weights / rates.macs_per_cycle + shape.units * rates.of_unit + shape.hidden * rates.of_element
    pairs = shape.heads * rates.of_pair + 2 * shape.hidden / rates.attention_macs_per_cycle
    cycles = shape.layers * (length * tokens + length * length * pairs + weights * rates.of_weight)
    return cycles / find_board(target.name).clock_mhz / 1e3


def units_for(shape: Shape, target: Target, length: int, speedup: float) -> int:
    """The most units, a multiple of STEP, with which the encoder is `speedup` times as fast.

    Raises UsageError where units alone cannot give that.
    """
    if not speedup > 1:
        raise UsageError(f"--speedup is how many times as fast the encoder gets, above 1; got `{speedup:g}`")
    dense = modelled_ms(shape, target, length)
    fewest = max(STEP, int(NARROWEST * shape.units) // STEP * STEP)
    for units in range((shape.units - 1) // STEP * STEP, fewest - 1, -STEP):
        if dense / modelled_ms(narrower(shape, units), target, length) >= speedup:
            return units
    most = dense / modelled_ms(narrower(shape, fewest), target, length)
    raise UsageError(
        f"narrower feed-forwards make this encoder at most {most:.2f} times as fast on {target.name}",
        hint="ask for less, or take a smaller encoder",
    )


def narrower(shape: Shape, units: int) -> Shape:
    return Shape(shape.layers, shape.hidden, shape.heads, units)
