"""One bundle on every emulated board: labels of this machine and of eager PyTorch, instructions, modelled time.

    python benchmarks/boards.py BUNDLE --model MODEL --data FILE [--limit 200] [--boards rpi3,rpi4,rpi5] [--json]

A bundle's program is the same everywhere, so one that was compiled for any target will do. Each board is qemu's model
of its processor with that board's /proc/cpuinfo, which together decide which kernels run. Instructions are counted and
milliseconds are modelled (docs/board-model.md); nothing is timed.

Exit code 1 where a board gives the label of this machine on fewer than 99% of the inputs, or in fp32 on one fewer.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from spartanc.base.quiet import hush

hush()

import numpy as np  # noqa: E402

from spartanc.base.progress import stage  # noqa: E402
from spartanc.compiler.proof import DEFAULT_GATES, compare, eager_logits  # noqa: E402
from spartanc.compiler.samples import encode_examples  # noqa: E402
from spartanc.errors import SpartancError  # noqa: E402
from spartanc.models.checkpoint import load_model  # noqa: E402
from spartanc.runtime_py.bundle import open_bundle  # noqa: E402
from spartanc.runtime_py.data import read_examples  # noqa: E402
from spartanc.runtime_py.devices.local import LocalDevice  # noqa: E402
from spartanc.runtime_py.devices.qemu import QemuDevice  # noqa: E402

COUNTED_TOKENS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--boards", default="rpi3,rpi4,rpi5")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bundle, model = open_bundle(given.bundle), load_model(given.model)
    assert model.tokenizer is not None
    rows = encode_examples(read_examples(given.data)[: given.limit], model.tokenizer, bundle.max_length).rows
    with stage(f"{len(rows)} inputs in eager PyTorch and here"):
        eager = eager_logits(model.module, rows)
        here = LocalDevice().run(bundle.path, bundle.program, rows, threads=1)
    ids = np.resize(rows[0][0], (1, min(COUNTED_TOKENS, bundle.max_length)))
    boards: dict[str, Any] = {}
    for name in given.boards.split(","):
        device = QemuDevice(name)
        with stage(f"{name}: {device.cpu}"):
            got = device.run(bundle.path, bundle.program, rows, threads=1)
        here_too = compare(here, got)
        boards[name] = {
            "cpu": device.cpu,
            "inputs": len(rows),
            "labels_as_here": here_too.label_agreement,
            "max_abs_diff_from_here": here_too.max_abs_diff,
            "labels_as_eager": compare(eager, got).label_agreement,
            "instructions": None,
            "modelled_ms": None,
        }
        try:
            row = (ids, np.ones_like(ids))
            counted = device.instructions_of_a_run(bundle.path, bundle.program, row)
            boards[name] |= {"instructions": counted["instructions"], "tokens": counted["length"]}
            boards[name] |= {"modelled_ms": device.modelled_run(bundle.path, bundle.program, row)["ms"]}
        except SpartancError as error:
            print(f"{name}: {error}", file=sys.stderr)
    wanted = DEFAULT_GATES[bundle.quantization].label_agreement
    result = {
        "settings": {"bundle": str(given.bundle), "quantization": bundle.quantization, "wanted": wanted},
        "boards": boards,
    }
    if given.json:
        print(json.dumps(result, indent=1))
    else:
        for name, row in boards.items():
            count = row["instructions"]
            counted = "" if count is None else f", {count / 1e6:.0f} million instructions for {row['tokens']} tokens"
            if row["modelled_ms"] is not None:
                counted += f", modelled {row['modelled_ms']:.1f} ms"
            print(
                f"{name}  {row['cpu']:<11} labels as here {row['labels_as_here']:.2%}, as eager's"
                f" {row['labels_as_eager']:.2%}, logits within {row['max_abs_diff_from_here']:.1e} of here{counted}"
            )
    sys.exit(0 if all(row["labels_as_here"] >= wanted for row in boards.values()) else 1)


if __name__ == "__main__":
    main()
