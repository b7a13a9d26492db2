"""Bundles and task files, sound or wrong in one place, written by hand from docs/formats."""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

STUB = b"no program\n"
BACKBONE = "5a" * 32
PREFIX = '{"__metadata__":{"digest":"'
DTYPES = {"I64": "q", "F32": "f", "I32": "i", "F16": "e", "I8": "b", "U8": "B"}

PROBE = {"input_ids": [[2, 7, 3]], "attention_mask": [[1, 1, 1]], "logits": [[0.5, -0.25]], "tolerance": 1e-4}
MANIFEST: dict[str, Any] = {
    "format": "spartanc-bundle",
    "format_version": 1,
    "target": "rpi4",
    "program": "model.pte",
    "problem": "classification",
    "labels": ["no", "yes"],
    "inputs": [{"name": name, "dtype": "int64", "shape": [1, "L"]} for name in ("input_ids", "attention_mask")],
    "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, 2]}],
    "max_length": 16,
    "quantization": "none",
    "lowering": "fused",
    "probe": PROBE,
}
FLEET = {
    "backbone": {"digest": BACKBONE},
    "quantization": "none",
    "bounds": {"parents": [1, 8], "cells": [1, 32], "classes": [1, 4]},
    "inputs": [
        {"name": "memories.0.layout", "dtype": "I64", "shape": [3]},
        {"name": "norm.weight", "dtype": "F32", "shape": [4]},
        {"name": "classifier.weight", "dtype": "F32", "shape": ["classes", 4]},
        {"name": "memories.0.keys", "dtype": "F32", "shape": ["parents", "children", 2]},
        {"name": "memories.0.scales", "dtype": "F32", "shape": ["cell_columns"]},
        {"name": "memories.0.order", "dtype": "I32", "shape": ["cells"]},
        {"name": "memories.0.logit_weights", "dtype": "F16", "shape": ["blocks", 2]},
        {"name": "memories.0.parent_cells", "dtype": "I8", "shape": ["parent_blocks", 4]},
        {"name": "memories.0.value_cells", "dtype": "U8", "shape": ["cell_blocks", 4]},
    ],
    "tasks": {"topics": {"file": "tasks/topics.safetensors"}},
}
FLEET_MANIFEST = MANIFEST | {
    "problem": "fleet",
    "labels": [],
    "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, "classes"]}],
    "probe": {"input_ids": [[2, 7, 3]], "attention_mask": [[1, 1, 1]]},
    "fleet": FLEET,
}
TASK: dict[str, Any] = {
    "name": "topics",
    "backbone": BACKBONE,
    "quantization": "none",
    "problem": "classification",
    "labels": ["no", "yes"],
    "memory": {"parents": 4, "cells": 8, "top_k": 2, "temperature": 1.6, "layer_norm": "none"},
    "probe": PROBE,
}


class Bundle:
    """A bundle that is sound until something in it is changed.

    text: instead of the manifest's own. digest_file: instead of manifest.sha256. digest_case: changes its line.
    """

    def __init__(
        self,
        manifest: dict[str, Any] = MANIFEST,
        files: dict[str, bytes] | None = None,
        text: bytes | None = None,
        digest_file: bytes | None = None,
        digest_case: Callable[[str], str] = str,
    ):
        self.manifest = copy.deepcopy(manifest)
        self.files = {"model.pte": STUB} | (files or {})
        self.manifest["files"] = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in self.files.items()
        }
        self.text, self.digest_file, self.digest_case = text, digest_file, digest_case
        self.links: dict[str, str] = {}
        self.removed: list[str] = []

    def manifest_text(self) -> bytes:
        return json.dumps(self.manifest, indent=1).encode()

    def write(self, folder: Path) -> None:
        text = self.manifest_text() if self.text is None else self.text
        line = self.digest_case(f"{hashlib.sha256(text).hexdigest()}  manifest.json\n")
        files = self.files | {"manifest.json": text, "manifest.sha256": self.digest_file or line.encode()}
        for name, data in files.items():
            if name not in self.removed:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
        for name, goal in self.links.items():
            (folder / name).symlink_to(goal)


def sizes_of(task: dict[str, Any]) -> dict[str, int]:
    parents, cells = task["memory"]["parents"], task["memory"]["cells"]
    return {
        "parents": parents,
        "cells": cells,
        "classes": max(1, len(task["labels"])),
        "children": cells // parents,
        "blocks": (parents + cells + 15) // 16,
        "parent_blocks": (parents + 15) // 16,
        "cell_blocks": (cells + 15) // 16,
        "cell_columns": (cells + 15) // 16 * 16,
    }


def tensors_of(task: dict[str, Any]) -> dict[str, tuple[str, list[int], list[Any]]]:
    sizes, tensors = sizes_of(task), {}
    for number, each in enumerate(FLEET["inputs"]):
        shape = [sizes.get(size, size) for size in each["shape"]]
        count = 1
        for size in shape:
            count *= size
        values = [(number + i) % 5 for i in range(count)]
        if each["name"].endswith(".layout"):
            values = [task["memory"][name] for name in ("parents", "cells", "top_k")]
        tensors[each["name"]] = (each["dtype"], shape, values)
    return tensors


def packed(dtype: str, values: list[Any]) -> bytes:
    return struct.pack(f"<{len(values)}{DTYPES[dtype]}", *values)


def sealed(data: bytes) -> bytes:
    at = 8 + len(PREFIX)
    zeros = data[:at] + b"0" * 64 + data[at + 64 :]
    return data[:at] + hashlib.sha256(zeros).hexdigest().encode() + data[at + 64 :]


def with_header(header: str, body: bytes, alignment: int = 64) -> bytes:
    text = header.encode()
    text += b" " * (-(8 + len(text)) % alignment)
    return sealed(struct.pack("<Q", len(text)) + text + body)


def task_file(
    task: dict[str, Any] = TASK,
    tensors: Callable[[dict[str, Any]], object] = lambda tensors: None,
    header: Callable[[dict[str, Any]], object] = lambda header: None,
    text: Callable[[str], str] = lambda text: text,
    task_text: Callable[[str], str] = lambda text: text,
    trailing: bytes = b"",
    alignment: int = 64,
) -> bytes:
    """A task file that is sound but for what the arguments change: tensors, header, text of either; then sealed."""
    given = tensors_of(task)
    tensors(given)
    document: dict[str, Any] = {
        "__metadata__": {
            "digest": "0" * 64,
            "format": "spartanc-task",
            "format_version": "1",
            "task": task_text(json.dumps(task)),
        }
    }
    body = b""
    for name, (dtype, shape, values) in given.items():
        data = packed(dtype, values)
        document[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    header(document)
    return with_header(text(json.dumps(document, separators=(",", ":"))), body + trailing, alignment)


def task_with(**fields: Any) -> bytes:
    """The task says this of itself; the tensors stay those of TASK."""
    return task_file(task_text=lambda _: json.dumps(TASK | fields))


def memory_with(**fields: Any) -> bytes:
    return task_with(memory=TASK["memory"] | fields)


def entry_with(name: str, **fields: Any) -> bytes:
    return task_file(header=lambda document: document[name].update(fields))


def tensor_with(name: str, dtype: str, shape: list[int], values: list[Any]) -> bytes:
    return task_file(tensors=lambda tensors: tensors.update({name: (dtype, shape, values)}))
