"""What each graph pass is worth: the whole encoder with all passes, without one, with one alone, and with none.

    python benchmarks/passes.py [--json] [--shape base|mini] [--quantize none|int8] [--lengths 16 128] [--rounds N]
                                [--threads N] [--keep DIR]

Only passes that the program can do without are varied: memories are fused and packed in all of them. A pass that needs
what a missing one provides is missing too; one alone brings those it needs. Programs run in turns, one process each;
`slower without` is the time without the pass over the time with all, `faster alone` the time with none over the time
with it alone; `delegates` are pieces that XNNPACK runs, `operators` what is called in all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import rivals
from encoder import MAX_LENGTH, SHAPES
from turns import Rival, measure, median, table

from spartanc.base.quiet import hush
from spartanc.models.classifier import SpartanClassifier
from spartanc.passes.properties import PassProperty
from spartanc.passes.protocol import GraphPass

VARIED = (
    "drop_noop_ops",
    "drop_batch_dimension",
    "fold_attention_scale",
    "simplify_attention_mask",
    "fold_position_embeddings",
    "drop_dead_tokens",
    "fuse_attention",
    "fuse_layer_norms",
)


def left_out(passes: Iterable[GraphPass], wanted: Collection[str]) -> list[str]:
    """Names of those that are varied and not wanted, and of those that need what is missing then."""
    holds: set[PassProperty] = set()
    names = []
    for each in passes:
        if (each.name in VARIED and each.name not in wanted) or not each.requires <= holds:
            names.append(each.name)
        else:
            holds = (holds - each.breaks) | each.provides
    return names


def with_what_it_needs(name: str) -> set[str]:
    passes = {each.name: each for each in rivals.our_pipeline("none", MAX_LENGTH).passes()}
    wanted, queue = set(), [name]
    while queue:
        each = passes[queue.pop()]
        wanted.add(each.name)
        queue += [other.name for other in passes.values() if other.provides & each.requires and other.name in VARIED]
    return wanted


def variants() -> dict[str, set[str]]:
    everything = set(VARIED)
    return {
        "all": everything,
        "none": set(),
        **{f"without_{name}": everything - {name} for name in VARIED},
        **{f"alone_{name}": with_what_it_needs(name) for name in VARIED},
    }


def write(path: Path, build: Callable[[], SpartanClassifier], quantization: str, wanted: Collection[str]) -> dict:
    """The program with the wanted passes, unless `path` holds it already."""
    pipeline = rivals.our_pipeline(quantization, MAX_LENGTH)
    pipeline = pipeline.without(*left_out(pipeline.passes(), wanted))
    return rivals.kept(path, lambda: rivals.write_with(pipeline, build(), path, MAX_LENGTH))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--shape", choices=SHAPES, default="mini")
    parser.add_argument("--quantize", choices=("none", "int8"), default="int8")
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where programs are kept for the next run")
    arguments = parser.parse_args()
    hush()

    layers, hidden = SHAPES[arguments.shape]
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        facts, made = {}, []
        for name, wanted in variants().items():
            path = directory / f"{arguments.shape}_{arguments.quantize}_{name}.pte"
            facts[name] = write(path, lambda: rivals.spartan(layers, hidden), arguments.quantize, wanted)
            made.append(Rival(name, "session", str(path)))
        times, _ = measure(made, arguments.lengths, threads=arguments.threads, rounds=arguments.rounds)

    medians = {name: {length: median(t) for length, t in by_length.items()} for name, by_length in times.items()}
    operators = {name: fact["delegates"] + sum(fact["outside"].values()) for name, fact in facts.items()}
    delegates = {name: fact["delegates"] for name, fact in facts.items()}
    result = {
        "medians_ms": medians,
        "slower_without": {n: _ratios(medians[f"without_{n}"], medians["all"]) for n in VARIED},
        "faster_alone": {n: _ratios(medians["none"], medians[f"alone_{n}"]) for n in VARIED},
        "together": _ratios(medians["none"], medians["all"]),
        "delegates": delegates,
        "operators": operators,
        "settings": {**vars(arguments), "keep": None},
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    lengths = arguments.lengths
    titles = ["pass", *(f"slower without, {n} tokens" for n in lengths), *(f"faster alone, {n}" for n in lengths)]
    rows = [
        [
            name,
            *(f"{result['slower_without'][name][n]:.2f}" for n in lengths),
            *(f"{result['faster_alone'][name][n]:.2f}" for n in lengths),
            f"{delegates[f'without_{name}']}",
            f"{operators[f'without_{name}']}",
        ]
        for name in VARIED
    ]
    together = [f"{result['together'][n]:.2f}" for n in lengths]
    rows.append(["all together", *together, *together, f"{delegates['all']}", f"{operators['all']}"])
    rows.append(["none", *["1.00"] * (2 * len(lengths)), f"{delegates['none']}", f"{operators['none']}"])
    print(table([*titles, "delegates without", "operators without"], rows))


def _ratios(slow: dict[int, float], fast: dict[int, float]) -> dict[int, float]:
    return {length: ms / fast[length] for length, ms in slow.items()}


if __name__ == "__main__":
    sys.exit(main())
