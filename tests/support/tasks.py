"""Task files without a model, the fleet that takes them, and mutations of their bytes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from spartanc.runtime_py.task_file import reseal, write_task

HIDDEN, PARENTS, CELLS, TOP_K = 8, 4, 12, 2
BACKBONE = "ab" * 32
LABELS = ["no", "yes", "maybe"]

MANIFEST = {
    "quantization": "none",
    "max_length": 32,
    "fleet": {
        "backbone": {"digest": BACKBONE},
        "quantization": "none",
        "bounds": {"parents": [1, 64], "cells": [1, 512], "classes": [1, 8]},
        "inputs": [
            {"name": "memories.0.layout", "dtype": "I64", "shape": [3]},
            {"name": "norm.weight", "dtype": "F32", "shape": [HIDDEN]},
            {"name": "classifier.weight", "dtype": "F32", "shape": ["classes", HIDDEN]},
            {"name": "memories.0.logit_weights", "dtype": "F32", "shape": ["blocks", HIDDEN, 16]},
            {"name": "memories.0.values", "dtype": "F32", "shape": [1, "cells", 64]},
        ],
        "tasks": {},
    },
}


# The same with int8 cells, of which most are zero and therefore left out of the file.
SPARSE_INPUT = {"name": "memories.0.key_cells", "dtype": "I8", "shape": ["cells", 64]}
SPARSE_MANIFEST = MANIFEST | {"fleet": MANIFEST["fleet"] | {"inputs": [*MANIFEST["fleet"]["inputs"], SPARSE_INPUT]}}


def sparse_tensors() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    cells = generator.integers(-128, 128, (CELLS, 64)) * (generator.random((CELLS, 64)) < 0.4)
    return tensors() | {SPARSE_INPUT["name"]: cells.astype(np.int8)}


def tensors(parents: int = PARENTS, cells: int = CELLS, classes: int = len(LABELS)) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)

    def draw(*shape):
        return generator.standard_normal(shape).astype(np.float32)

    return {
        "memories.0.layout": np.array([parents, cells, TOP_K]),
        "norm.weight": draw(HIDDEN),
        "classifier.weight": draw(classes, HIDDEN),
        "memories.0.logit_weights": draw(-(-(parents + cells) // 16), HIDDEN, 16),
        "memories.0.values": draw(1, cells, 64),
    }


def said(**changes) -> dict:
    """What a task's file says of itself."""
    memory = {"parents": PARENTS, "cells": CELLS, "top_k": TOP_K, "temperature": 1.6, "layer_norm": "none"}
    probe = {"input_ids": [[1, 2, 3]], "attention_mask": [[1, 1, 1]], "logits": [[0.5, -1.0, 2.0]], "tolerance": 1e-4}
    return {
        "name": "answers",
        "backbone": BACKBONE,
        "quantization": "none",
        "problem": "classification",
        "labels": LABELS,
        "memory": memory,
        "probe": probe,
    } | changes


def write(path: Path, given: dict[str, np.ndarray] | None = None, **changes) -> Path:
    write_task(path, tensors() if given is None else given, said(**changes))
    return path


def with_header(data: bytes, change) -> bytes:
    """`data` with its JSON header changed by `change(header)`, sealed anew."""
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    changed = bytearray(struct.pack("<Q", len(text)) + text + data[8 + size :])
    reseal(changed)
    return bytes(changed)


def mutate(data: bytes, generator: np.random.Generator, sealed: bool) -> bytes:
    """One random change of `data`: bits, bytes, numbers of the header, a cut, a repeat; `sealed` recomputes its digest.

    Never `data` itself.
    """
    while True:
        changed = bytearray(data)
        (size,) = struct.unpack_from("<Q", data)
        at = int(generator.integers(8 + size)) if generator.random() < 0.7 else int(generator.integers(len(data)))
        match int(generator.integers(6)):
            case 0:
                changed[at] ^= 1 << int(generator.integers(8))
            case 1:
                count = int(generator.integers(1, 9))
                changed[at : at + count] = generator.bytes(len(changed[at : at + count]))
            case 2:
                del changed[at : at + int(generator.integers(1, 200))]
            case 3:
                changed[at:at] = changed[at : at + int(generator.integers(1, 200))]
            case 4:  # another number where the header has one
                digits = [i for i in range(8 + 98, 8 + size) if chr(data[i]).isdigit()]
                place = int(generator.choice(digits))
                changed[place : place + 1] = str(int(generator.choice([0, 1, 9, 63, 2**31, 2**63, 10**30]))).encode()
            case 5:
                changed[at:] = generator.bytes(int(generator.integers(64)))
        if sealed and len(changed) >= 98:
            # The header's length has to fit, else nothing but that is ever tried.
            shift = len(changed) - len(data) if at < 8 + size else 0
            if generator.random() < 0.8:
                struct.pack_into("<Q", changed, 0, max(size + shift, 0))
            reseal(changed)
        if changed != data:
            return bytes(changed)
