"""The boards' figures, read from boards.toml: each has its source there."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from spartanc.errors import MissingToolError
from spartanc.runtime_py.board_model.counting import CacheLevel
from spartanc.runtime_py.board_model.cycles import Divisions

PARAMETERS = Path(__file__).with_name("boards.toml")


@dataclass(frozen=True)
class Board:
    """A board by the figures that its modelled times are made of.

    memory: `sum` where computing waits for memory, `larger` where both overlap, block by block. dram_gb_per_s: what one
    core reads. macs_per_cycle: multiply-adds that a core does at most, by arithmetic (fp32, int8).
    """

    name: str
    title: str
    clock_mhz: float
    cores: int
    mca_core: str
    caches: tuple[CacheLevel, ...]
    dram_gb_per_s: float
    memory: str
    divisions: Divisions
    macs_per_cycle: dict[str, float]

    def __post_init__(self) -> None:
        if self.memory not in ("sum", "larger"):
            raise ValueError(f"memory must be `sum` or `larger`, got `{self.memory}`")


def board_names() -> tuple[str, ...]:
    return tuple(_table())


@cache
def find_board(name: str) -> Board:
    """The board called `name`, a target's name; MissingToolError (exit 5) where the model has none."""
    if name not in _table():
        raise MissingToolError(f"the board model has no `{name}`", hint=f"boards: {', '.join(board_names())}")
    row = {key: entry["value"] for key, entry in _table()[name].items()}
    return Board(
        name=name,
        title=row["title"],
        clock_mhz=row["clock_mhz"],
        cores=row["cores"],
        mca_core=row["mca_core"],
        caches=tuple(CacheLevel(**row[level]) for level in ("l1d", "l2", "l3") if level in row),
        dram_gb_per_s=row["dram_gb_per_s"],
        memory=row["memory"],
        divisions=Divisions(row["division_fast"], row["division_slow"]),
        macs_per_cycle={"fp32": row["fp32_macs_per_cycle"], "int8": row["int8_macs_per_cycle"]},
    )


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(PARAMETERS.read_text(encoding="utf-8"))
