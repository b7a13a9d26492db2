"""Modelled time of one inference on Raspberry Pi 3, 4 and 5, one core: ours, ONNX Runtime's, ExecuTorch's recipe.

    python benchmarks/board_model.py --setup                     once: aarch64 wheels and Debian files, into the cache
    python benchmarks/board_model.py [--json] [--keep DIR] [--boards …] [--lengths …] [--arithmetic …]
                                     [--older NAME=FOLDER] [--layers 6] [--hidden 384]
    python benchmarks/board_model.py --profile ours|onnx|recipe|NAME [--keep DIR] [--boards …] …
    python benchmarks/board_model.py --validate [--json]         the published timings of ncnn, and the model's error

Nothing is measured and no board takes part: qemu counts instructions and simulates caches, llvm-mca gives cycles
(docs/board-model.md). Two runs give the same figures to 0.1%. Models have random weights and memories of 16 parents and
48 cells; the recipe has Houlsby adapters of bottleneck 48. --keep holds the programs, which take minutes to make, for
the next run: use it with one state of the sources only.

--older takes what board_programs.py of another commit wrote (`--only ours`) and adds ratios over that commit.

Exit code 5 where a tool is missing; --validate exits 6 where an error is larger than docs/board-model.md has it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from turns import table

from spartanc.base.quiet import hush

hush()

from board_contest import ARITHMETIC, BOARDS, RUNTIME, Contestant, contestants, counts_of, judge  # noqa: E402
from board_setup import require_arm_root, set_up  # noqa: E402
from board_validation import validate  # noqa: E402

from spartanc.base.progress import stage  # noqa: E402
from spartanc.errors import GateError, SpartancError, UsageError  # noqa: E402
from spartanc.runtime_py.board_model.cycles import cycles_of  # noqa: E402
from spartanc.runtime_py.board_model.hot_loops import hot_functions  # noqa: E402
from spartanc.runtime_py.board_model.parameters import find_board  # noqa: E402
from spartanc.runtime_py.board_model.timing import Modelled  # noqa: E402


def main() -> None:
    given = _arguments()
    try:
        if given.setup:
            print(set_up())
            return
        require_arm_root()
        if given.validate:
            _validate(given)
            return
        with tempfile.TemporaryDirectory(prefix="programs-") as scratch:
            folder = given.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            older = _older(given.older)
            import board_programs  # torch and the compiler, which setting up and validating do without

            board_programs.write(folder, given.layers, given.hidden)
            chosen = contestants(folder, older, given.boards, given.lengths, given.arithmetic)
            if given.profile:
                _profile([each for each in chosen if each.maker == given.profile], given.json)
            else:
                _compare(chosen, older, given)
    except SpartancError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _compare(chosen: list[Contestant], older: dict[str, Path], given: argparse.Namespace) -> None:
    found: dict[Contestant, Modelled] = {}
    for each in chosen:
        with stage(each.name):
            found[each] = judge(each)
    ratios, bands = {}, {}
    for ours in (each for each in chosen if each.maker == "ours"):
        for theirs in ("onnx", "recipe", *older):
            other = next((each for each in chosen if each == ours.by(theirs)), None)
            if other is not None:
                name = f"{ours.arithmetic}_vs_{theirs}_{ours.board}_{ours.length}"
                mine, rival = found[ours], found[other]
                ratios[name] = rival.ms / mine.ms
                bands[name] = sorted((rival.fast_ms / mine.fast_ms, rival.slow_ms / mine.slow_ms, ratios[name]))[::2]
    result: dict[str, Any] = {
        "ratios": ratios,
        "bands": bands,
        "modelled_ms": {each.name: found[each].ms for each in chosen},
        "instructions": {each.name: found[each].instructions for each in chosen},
        "cycles": {each.name: found[each].cycles for each in chosen},
        "bytes_from_memory": {each.name: found[each].bytes_from_memory for each in chosen},
        "all_cores_ms_at_least": {each.name: found[each].all_cores_ms_at_least for each in chosen},
        "settings": {
            "modelled": "qemu counts, llvm-mca cycles, simulated caches; one core, one warm inference, batch of one",
            "layers": given.layers,
            "hidden": given.hidden,
            "adapters": "Houlsby, bottleneck 48",
            "boards": {name: find_board(name).title for name in given.boards},
            "older": {name: str(folder) for name, folder in older.items()},
        },
    }
    if given.json:
        print(json.dumps(result, indent=1))
        return
    rows = [
        [
            each.name,
            f"{r.ms:.1f}",
            f"{r.fast_ms:.1f} to {r.slow_ms:.1f}",
            *(f"{value / 1e6:.1f}" for value in (r.instructions, r.cycles, r.bytes_from_memory)),
            f"{r.all_cores_ms_at_least:.1f}",
        ]
        for each, r in found.items()
    ]
    titles = [
        "modelled, not measured",
        "ms",
        "by divisions",
        "M instructions",
        "M cycles",
        "MB",
        "4 cores at least, ms",
    ]
    print(table(titles, rows))
    print()
    rows = [[name, f"{ratios[name]:.2f}", f"{low:.2f} to {high:.2f}"] for name, (low, high) in bands.items()]
    print(table(["throughput of ours over theirs", "ratio", "by divisions"], rows))


def _profile(chosen: list[Contestant], as_json: bool) -> None:
    profiles: dict[str, Any] = {}
    for each in chosen:
        with stage(each.name):
            counts, board = counts_of(each), find_board(each.board)
            functions = hot_functions(counts, cycles_of(counts, board.mca_core, board.divisions), board)
        profiles[each.name] = [asdict(function) for function in functions]
    if as_json:
        print(json.dumps(profiles, indent=1))
        return
    for name, functions_of in profiles.items():
        print(f"{name}: share of cycles, modelled")
        for function in functions_of:
            print(f"  {function['share']:6.1%}  {function['name'][:100]}")
            for loop in function["loops"]:
                rate = f"{loop['macs_per_cycle']:5.1f} of {loop['limit']:.0f} multiply-adds a cycle"
                if not loop["macs_per_cycle"]:
                    rate = "no multiply-adds"
                print(
                    f"    {loop['share']:6.1%}  +{loop['offset']:#x} {loop['executions']:.0f} ×"
                    f" {loop['instructions']} instructions in {loop['cycles']:.1f} cycles, {rate}"
                )


def _validate(given: argparse.Namespace) -> None:
    result = validate(given.boards)
    if given.json:
        print(json.dumps(result, indent=1))
    else:
        rows = [
            [row["board"], row["workload"], *(f"{row[name]:.1f}" for name in ("published_ms", "modelled_ms"))]
            for row in result["rows"]
        ]
        for line, row in zip(rows, result["rows"], strict=True):
            line.append(f"{row['error']:+.0%}")
        print(table(["board", "workload", "published, ms", "modelled, ms", "error"], rows))
        print(f"error: {result['mean']:.1%} in the mean, {result['worst']:.1%} at worst")
    if not result["passed"]:
        raise GateError("the model's error has grown", hint="docs/board-model.md has what it was")


def _older(given: list[str]) -> dict[str, Path]:
    found = {}
    for each in given:
        name, _, folder = each.partition("=")
        if not name.isalnum() or not (Path(folder) / RUNTIME / "spartan").is_file():
            raise UsageError(
                f"`--older {each}`: no folder with `runtime/spartan`", hint="board_programs.py of that commit writes it"
            )
        found[name] = Path(folder)
    return found


def _words(text: str) -> list[str]:
    return text.split(",")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--setup", action="store_true")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--profile", metavar="MAKER")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--older", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--boards", type=_words, default=list(BOARDS))
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--arithmetic", type=_words, default=list(ARITHMETIC))
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=384)
    given = parser.parse_args()
    known = {*BOARDS}, {*ARITHMETIC}
    if not set(given.boards) <= known[0] or not set(given.arithmetic) <= known[1]:
        parser.error(f"boards are {', '.join(BOARDS)}; arithmetic is int8, fp32")
    return given


if __name__ == "__main__":
    main()
