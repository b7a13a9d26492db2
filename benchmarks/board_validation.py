"""The board model against published timings: networks of ncnn's own benchmark, run by its aarch64 wheel.

emulated/workloads/ holds ncnn's descriptions of them (Tencent/ncnn, benchmark/models, BSD 3-Clause) and
published.json the milliseconds that others measured on the boards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from board_contest import EMULATED, run_python

from spartanc.base.progress import stage
from spartanc.runtime_py.board_model.parameters import find_board
from spartanc.runtime_py.board_model.timing import modelled

WORKLOADS = EMULATED / "workloads"
IMAGE = 224
OTHER_IMAGES = {"squeezenet": 227, "squeezenet_int8": 227}
MEAN, WORST = 0.11, 0.28  # it was 0.103 and 0.276 when the model was made, and may not grow


def validate(boards: Sequence[str]) -> dict[str, Any]:
    """Rows of published and modelled milliseconds with the relative error, its mean, the worst, and whether it grew."""
    published = json.loads((WORKLOADS / "published.json").read_text())["timings"]
    rows = []
    for board in boards:
        for workload, ms in published[board].items():
            with stage(f"{board} {workload}"):
                size = OTHER_IMAGES.get(workload, IMAGE)
                counts = run_python(board, EMULATED / "run_ncnn.py", str(WORKLOADS / f"{workload}.param"), str(size))
                found = modelled(counts, find_board(board))
            rows.append(
                {"board": board, "workload": workload, "published_ms": ms, "modelled_ms": found.ms}
                | {"error": found.ms / ms - 1}
            )
    errors = [abs(row["error"]) for row in rows]
    mean, worst = sum(errors) / len(errors), max(errors)
    # A single board's mean may be above that of all.
    passed = worst <= WORST and (mean <= MEAN or len(published) > len(boards))
    return {"rows": rows, "mean": mean, "worst": worst, "passed": passed}
