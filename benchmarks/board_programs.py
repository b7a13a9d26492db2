"""The programs that board_model.py judges: ours for each board, ONNX Runtime's and ExecuTorch's own.

    python benchmarks/board_programs.py FOLDER [--only ours] [--layers 6] [--hidden 384]

Weights are random and the same in every program. Ours are compiled for each board, as `spartanc compile` does, beside
`runtime/`, the native runtime for aarch64. A program that is there already is kept.

With PYTHONPATH on the tree of another commit, it writes that commit's programs and runtime: `--only ours` makes the
folder that board_model.py takes as `--older NAME=FOLDER`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from spartanc.base.quiet import hush

hush()

import rivals  # noqa: E402
from board_contest import ARITHMETIC, BOARDS, MAX_LENGTH, RUNTIME, onnx, ours, recipe  # noqa: E402

from spartanc.errors import MissingToolError  # noqa: E402
from spartanc.models.classifier import SpartanClassifier  # noqa: E402
from spartanc.runtime_py.build import board_runtime_files  # noqa: E402

EXPORTERS = ("onnx", "onnxruntime", "onnxscript")  # write what the emulated ONNX Runtime reads
ADAPTERS = 48  # the bottleneck of the recipe's adapters


def write(folder: Path, layers: int, hidden: int) -> None:
    """All programs into `folder`."""
    write_ours(folder, layers, hidden)
    write_rivals(folder, layers, hidden)


def write_ours(folder: Path, layers: int, hidden: int) -> None:
    """Our programs for every board and the runtime that runs them."""
    for arithmetic, quantization in ARITHMETIC.items():
        for board in BOARDS:
            make = partial(rivals.write_ours, quantization=quantization, max_length=MAX_LENGTH, target=board)
            _write(ours(folder, arithmetic, board), partial(rivals.spartan, layers, hidden), make)
    runtime = folder / RUNTIME
    shutil.rmtree(runtime, ignore_errors=True)
    runtime.mkdir()
    for name, file in board_runtime_files(BOARDS[0]).items():
        shutil.copy2(file, runtime / name)


def write_rivals(folder: Path, layers: int, hidden: int) -> None:
    """ONNX Runtime with the same memories; ExecuTorch's own recipe with Houlsby adapters of bottleneck 48."""
    if not all(onnx(folder, arithmetic).is_file() for arithmetic in ARITHMETIC):
        missing = [name for name in EXPORTERS if importlib.util.find_spec(name) is None]
        if missing:
            raise MissingToolError(f"`{missing[0]}` is not installed", hint=f"pip install {' '.join(missing)}")
    adapters = partial(rivals.adapters, layers, hidden, size=ADAPTERS)
    memories = partial(rivals.spartan, layers, hidden)
    for arithmetic, quantization in ARITHMETIC.items():
        given = {"quantization": quantization, "max_length": MAX_LENGTH}
        _write(recipe(folder, arithmetic), adapters, partial(rivals.write_stock, **given))
        _write(onnx(folder, arithmetic), memories, partial(rivals.write_onnx, **given))


def _write(path: Path, build: Callable[[], SpartanClassifier], make: Callable[..., dict[str, Any]]) -> None:
    said = path.with_suffix(".json")
    if path.is_file() and said.is_file():
        return
    print(f"writing {path.name}", file=sys.stderr, flush=True)
    said.write_text(json.dumps(make(build(), path)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=("ours", "rivals"))
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=384)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.only != "rivals":
        write_ours(given.folder, given.layers, given.hidden)
    if given.only != "ours":
        write_rivals(given.folder, given.layers, given.hidden)


if __name__ == "__main__":
    main()
