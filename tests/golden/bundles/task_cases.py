"""The task files of the corpus: {name: (file, reason)}; for refusals {name: (file, word of the message, reason)}."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from writing import PREFIX, PROBE, TASK, sealed, task_file

_SOUND = task_file()
_BODY = 8 + struct.unpack_from("<Q", _SOUND)[0]


def saying(**fields: Any) -> bytes:
    """The task says this of itself; the tensors stay those of TASK."""
    return task_file(task_text=lambda _: json.dumps(TASK | fields))


def with_labels(labels: list[Any]) -> bytes:
    return saying(problem="multilabel", labels=labels)


def said_without(field: str) -> bytes:
    return task_file(task_text=lambda _: json.dumps({name: TASK[name] for name in TASK if name != field}))


def with_memory(**fields: Any) -> bytes:
    return saying(memory=TASK["memory"] | fields)


def with_probe(**fields: Any) -> bytes:
    return saying(probe=PROBE | fields)


def with_entry(name: str, **fields: Any) -> bytes:
    """The header says this of a tensor, or of the file (`__metadata__`)."""
    return task_file(header=lambda header: header[name].update(fields))


def with_tensor(name: str, dtype: str, shape: list[int], values: list[Any]) -> bytes:
    return task_file(tensors=lambda tensors: tensors.update({name: (dtype, shape, values)}))


def with_text(old: str, new: str) -> bytes:
    def change(text: str) -> str:
        assert text.count(old) == 1, old
        return text.replace(old, new)

    return task_file(text=change)


def _move(tensors: dict[str, Any], name: str) -> None:
    tensors[name] = tensors.pop(name)


def _exchange(header: dict[str, Any], a: str, b: str) -> None:
    header[a]["data_offsets"], header[b]["data_offsets"] = header[b]["data_offsets"], header[a]["data_offsets"]


def _misaligned() -> bytes:
    """A tensor of bytes comes first, so that the I64 after it begins at an odd place."""

    def change(tensors: dict[str, Any]) -> None:
        rest = dict(tensors)
        tensors.clear()
        tensors["first"] = ("U8", [1], [1])
        tensors.update(rest)

    return task_file(tensors=change)


_CELLS = "memories.0.parent_cells"


def with_sparse(
    stored: list[int], shapes: Any = None, name: str = _CELLS, dtype: str = "U8", version: str = "2", size: int = 64
) -> bytes:
    """The int8 tensor, [1, 4] for the fleet, as the bytes `stored`, filled up with zeros to `size`."""
    tensor = (dtype, [size], [*stored, *[0] * (size - len(stored))])
    return task_file(
        TASK | {"sparse": {name: [1, 4]} if shapes is None else shapes},
        tensors=lambda tensors: tensors.update({_CELLS: tensor}),
        header=lambda header: header["__metadata__"].update(format_version=version),
    )


REGRESSION = TASK | {"problem": "regression", "labels": [], "probe": PROBE | {"logits": [[0.5]]}}
MULTILABEL = TASK | {"problem": "multilabel", "labels": [["no", 0.25], ["yes", 0.5]]}
ONE_LABEL = MULTILABEL | {"labels": [["only", 1e-9]], "probe": PROBE | {"logits": [[0.5]]}}
SMALLEST = TASK | {
    "name": "Small-1.x_y",
    "memory": {"parents": 1, "cells": 1, "top_k": 1, "temperature": 1, "layer_norm": "post"},
}

ACCEPT: dict[str, tuple[bytes, str]] = {
    "task-classification": (_SOUND, "a task with a tensor of every dtype"),
    "task-regression": (task_file(REGRESSION), "a regression has no label and one logit"),
    "task-multilabel": (task_file(MULTILABEL), "several labels, each with its threshold"),
    "task-multilabel-one-label": (task_file(ONE_LABEL), "a text has it, or not"),
    "task-smallest": (task_file(SMALLEST), "the least sizes, a layer norm, a name with every kind of character"),
    "task-labels": (task_file(TASK | {"labels": ["\u6c34\U0001f600", '"\\\n']}), "labels are any text"),
    "task-pairs": (task_file(TASK | {"pairs": True}), "whether an input is two texts"),
    "task-pairs-null": (task_file(TASK | {"pairs": None}), "it is not known whether an input is two texts"),
    "task-sparse": (with_sparse([0b1011, 2, 0xFD, 0x80]), "the int8 tensor 2, -3, 0, -128 without its zero"),
    "task-sparse-of-zeros": (with_sparse([0]), "a sparse tensor that is all zeros"),
    "task-sparse-full": (with_sparse([0b1111, 1, 2, 3, 4]), "a sparse tensor without a zero"),
    "task-sparse-none": (
        task_file(TASK | {"sparse": {}}, header=lambda h: h["__metadata__"].update(format_version="2")),
        "a file of version 2 in which no tensor is sparse",
    ),
    "task-more-padding": (task_file(alignment=1024), "a header with more padding than it needs"),
}

REFUSE: dict[str, tuple[bytes, str, str]] = {
    # The file
    "task-empty": (b"", "short", "no header"),
    "task-truncated": (_SOUND[:-4], "digest", "the end is missing"),
    "task-altered": (_SOUND[:-1] + b"\x7f", "digest", "another last byte"),
    "task-digest-upper-case": (
        _SOUND[: 8 + len(PREFIX)] + _SOUND[8 + len(PREFIX) : 72 + len(PREFIX)].upper() + _SOUND[72 + len(PREFIX) :],
        "digest",
        "digests are written in lower case",
    ),
    "task-header-too-long": (sealed(struct.pack("<Q", len(_SOUND)) + _SOUND[8:]), "header", "it reaches outside"),
    "task-header-huge": (sealed(struct.pack("<Q", (1 << 64) - 64 - 8) + _SOUND[8:]), "header", "a length of 2^64 - 72"),
    "task-header-not-padded": (task_file(alignment=8), "header", "tensors begin at a multiple of 64"),
    "task-digest-not-first": (
        with_text(PREFIX, PREFIX.replace("{", '{"a":1,', 1)),
        "digest",
        "the header begins with its digest",
    ),
    "task-trailing-bytes": (task_file(trailing=b"\0" * 8), "after", "bytes after the last tensor"),
    # The header
    "task-header-name-twice": (with_text('"norm.weight"', '"memories.0.order"'), "memories.0.order", "a tensor twice"),
    "task-header-trailing-text": (task_file(text=lambda text: text + "{}"), "JSON", "text after the header's end"),
    "task-metadata-extra": (with_entry("__metadata__", more="x"), "__metadata__", "exactly four members"),
    "task-metadata-not-text": (with_entry("__metadata__", format_version=1), "__metadata__", "metadata is text"),
    "task-format-other": (with_entry("__metadata__", format="another"), "format", "another format"),
    "task-format-version-2": (with_entry("__metadata__", format_version="2"), "exactly", "version 2 has `sparse`"),
    "task-format-version-3": (with_entry("__metadata__", format_version="3"), "format_version", "a later version"),
    # What the task says of itself
    "task-json-name-twice": (
        task_file(task_text=lambda t: t.replace('"name"', '"problem"')),
        "problem",
        "a name twice",
    ),
    "task-json-nan": (task_file(task_text=lambda t: t.replace("1.6", "NaN")), "JSON", "NaN is not JSON"),
    "task-json-array": (task_file(task_text=lambda _: "[]"), "task", "not an object"),
    "task-field-missing": (said_without("problem"), "exactly", "a task has exactly seven members"),
    "task-field-extra": (saying(pooling="mean"), "exactly", "a task has exactly seven members"),
    "task-name-with-slash": (saying(name="a/b"), "a/b", "not a task name"),
    "task-name-too-long": (saying(name="a" * 65), "name", "at most 64 characters"),
    "task-name-line-end": (saying(name="topics\n"), "name", "not a task name"),
    "task-backbone-other": (saying(backbone="a5" * 32), "backbone", "made for another backbone"),
    "task-backbone-short": (saying(backbone="5a"), "backbone", "not a digest"),
    "task-quantization-other": (saying(quantization="int8"), "int8", "the fleet takes fp32 tensors"),
    "task-quantization-other-int4": (
        saying(quantization="int4-memories"),
        "int4-memories",
        "known, not the fleet's",
    ),
    "task-quantization-unknown": (saying(quantization="int3"), "int3", "an unknown word"),
    "task-problem-unknown": (saying(problem="ranking"), "ranking", "an unknown word"),
    "task-problem-fleet": (saying(problem="fleet"), "problem", "a fleet is not a task"),
    "task-labels-twice": (saying(labels=["no", "no"]), "labels", "labels are distinct"),
    "task-labels-not-text": (saying(labels=["no", 2]), "labels", "a label is text"),
    "task-labels-with-nul": (saying(labels=["no", "y\0es"]), "labels", "U+0000 would end the text in C"),
    "task-labels-only-one": (saying(labels=["no"], probe=PROBE | {"logits": [[1]]}), "labels", "two classes at least"),
    "task-labels-of-regression": (saying(problem="regression"), "labels", "a regression has no labels"),
    "task-labels-too-many": (
        task_file(TASK | {"labels": list("abcde"), "probe": PROBE | {"logits": [[0.0] * 5]}}),
        "classes",
        "the fleet's bounds are 1 to 4",
    ),
    "task-multilabel-plain-labels": (with_labels(["no", "yes"]), "labels", "each label has a threshold"),
    "task-multilabel-no-label": (with_labels([]), "labels", "one label at least"),
    "task-multilabel-labels-twice": (with_labels([["no", 0.5], ["no", 0.5]]), "labels", "labels are distinct"),
    "task-multilabel-three-of-a-label": (with_labels([["no", 0.5, 1], ["yes", 0.5]]), "labels", "a pair is two"),
    "task-multilabel-label-not-text": (with_labels([["no", 0.5], [2, 0.5]]), "labels", "a label is text"),
    "task-multilabel-threshold-text": (with_labels([["no", 0.5], ["yes", "1"]]), "labels", "a threshold is a number"),
    "task-multilabel-threshold-zero": (with_labels([["no", 0.5], ["yes", 0]]), "thresholds", "it is above 0"),
    "task-multilabel-threshold-one": (with_labels([["no", 0.5], ["yes", 1]]), "thresholds", "it is below 1"),
    "task-thresholds-of-classification": (
        saying(labels=[["no", 0.5], ["yes", 0.5]]),
        "labels",
        "a classification has none",
    ),
    "task-thresholds-apart": (saying(problem="multilabel", thresholds=[0.5, 0.5]), "exactly", "they stand in `labels`"),
    "task-pairs-text": (saying(pairs="yes"), "pairs", "true, false or null"),
    # Memory
    "task-memory-extra": (with_memory(more=1), "memory", "a memory has exactly five members"),
    "task-memory-missing": (saying(memory={"parents": 4, "cells": 8, "top_k": 2}), "memory", "exactly five members"),
    "task-parents-zero": (with_memory(parents=0), "memory", "at least 1"),
    "task-parents-boolean": (with_memory(parents=True), "memory", "true is not a count"),
    "task-parents-beyond-bounds": (
        task_file(TASK | {"memory": TASK["memory"] | {"parents": 16, "cells": 16}}),
        "parents",
        "the fleet's bounds are 1 to 8",
    ),
    "task-cells-not-divided": (with_memory(cells=9), "memory", "as many cells for every parent"),
    "task-cells-huge": (with_memory(cells=1 << 53), "memory", "a size fits in int32"),
    "task-top-k-too-large": (with_memory(top_k=5), "memory", "no more than parents"),
    "task-temperature-zero": (with_memory(temperature=0), "memory", "a temperature is positive"),
    "task-temperature-text": (with_memory(temperature="1.6"), "memory", "a temperature is a number"),
    "task-temperature-infinite": (task_file(task_text=lambda t: t.replace("1.6", "1e400")), "memory", "not finite"),
    "task-layer-norm-unknown": (with_memory(layer_norm="pre"), "memory", "an unknown word"),
    # Probe
    "task-probe-mask-shorter": (with_probe(attention_mask=[[1]]), "probe", "a mask value for every id"),
    "task-probe-logits": (with_probe(logits=[[0.5]]), "probe", "a logit for every class"),
    "task-probe-tolerance": (with_probe(tolerance=-1), "probe", "a tolerance is not negative"),
    "task-probe-too-long": (
        with_probe(input_ids=[[1] * 17], attention_mask=[[1] * 17]),
        "probe",
        "the fleet takes 16 tokens",
    ),
    # Tensors
    "task-tensor-missing": (task_file(tensors=lambda t: t.pop("norm.weight")), "norm.weight", "a tensor too few"),
    "task-tensor-extra": (
        task_file(tensors=lambda t: t.update(more=("F32", [1], [0.0]))),
        "more",
        "a tensor that the program does not take",
    ),
    "task-tensor-order": (
        task_file(tensors=lambda t: _move(t, "memories.0.value_cells") or _move(t, "memories.0.parent_cells")),
        "memories.0.parent_cells",
        "the program's order",
    ),
    "task-tensor-exchanged": (
        task_file(header=lambda h: _exchange(h, "memories.0.parent_cells", "memories.0.value_cells")),
        "memories.0.parent_cells",
        "bytes are in the header's order",
    ),
    "task-tensor-other-dtype": (with_tensor("memories.0.order", "F32", [8], [0.0] * 8), "memories.0.order", "I32"),
    "task-tensor-other-shape": (with_tensor("norm.weight", "F32", [5], [0.0] * 5), "norm.weight", "another size"),
    "task-tensor-other-rank": (with_tensor("norm.weight", "F32", [1, 4], [0.0] * 4), "norm.weight", "another rank"),
    "task-tensor-nan": (with_tensor("norm.weight", "F32", [4], [0, 1, math.nan, 2]), "norm.weight", "NaN"),
    "task-tensor-infinite": (
        with_tensor("memories.0.logit_weights", "F16", [1, 2], [0, -math.inf]),
        "memories.0.logit_weights",
        "an infinite float16",
    ),
    "task-layout-other": (with_tensor("memories.0.layout", "I64", [3], [4, 8, 3]), "memories.0.layout", "other top_k"),
    "task-layout-int32": (with_tensor("memories.0.layout", "I32", [3], [4, 8, 2]), "memories.0.layout", "I64"),
    "task-dtype-unknown": (with_entry("norm.weight", dtype="F8_E4M3"), "F8_E4M3", "a dtype that no task has"),
    "task-dtype-wide": (with_entry("memories.0.layout", dtype="F64"), "F64", "a dtype that no task has"),
    "task-entry-extra": (with_entry("norm.weight", more=1), "norm.weight", "exactly three members"),
    "task-entry-not-an-object": (task_file(header=lambda h: h.update({"norm.weight": []})), "norm.weight", "a list"),
    "task-shape-negative": (with_entry("norm.weight", shape=[-4]), "norm.weight", "a size is at least 1"),
    "task-shape-zero": (with_entry("norm.weight", shape=[0, 4]), "norm.weight", "a size is at least 1"),
    "task-shape-fraction": (with_entry("norm.weight", shape=[4.0]), "norm.weight", "a size has no fraction"),
    "task-shape-overflow": (with_entry("norm.weight", shape=[1 << 31]), "norm.weight", "a size fits in int32"),
    "task-shape-product-overflow": (
        with_entry("norm.weight", shape=[1 << 30, 1 << 30, 1 << 30]),
        "norm.weight",
        "more bytes than any file",
    ),
    "task-shape-nine-dimensions": (with_entry("norm.weight", shape=[4, *[1] * 8]), "norm.weight", "at most 8"),
    "task-offsets-gap": (with_entry("norm.weight", data_offsets=[28, 44]), "norm.weight", "a gap before it"),
    "task-offsets-overlap": (with_entry("norm.weight", data_offsets=[20, 36]), "norm.weight", "it overlaps another"),
    "task-offsets-reversed": (with_entry("norm.weight", data_offsets=[40, 24]), "norm.weight", "the end comes first"),
    "task-offsets-outside": (
        with_entry("memories.0.value_cells", shape=[1, 4096], data_offsets=[0, 4096]),
        "memories.0.value_cells",
        "it reaches outside",
    ),
    "task-offsets-three": (with_entry("norm.weight", data_offsets=[24, 40, 40]), "norm.weight", "begin and end"),
    "task-offsets-other-size": (with_entry("norm.weight", data_offsets=[24, 36]), "norm.weight", "not its shape's"),
    # Sparse tensors
    "task-sparse-in-version-1": (with_sparse([0b1011, 1, 2, 3], version="1"), "exactly", "version 1 has no `sparse`"),
    "task-sparse-not-an-object": (with_sparse([0b1011, 1, 2, 3], shapes=[_CELLS]), "sparse", "a list"),
    "task-sparse-mask-too-short": (
        with_sparse([0xFF] * 64, shapes={_CELLS: [1024, 4]}),
        _CELLS,
        "4,096 numbers have a mask of 512 bytes",
    ),
    "task-sparse-mask-beyond": (with_sparse([0b10111, 1, 2, 3, 4]), _CELLS, "a bit for a fifth of four numbers"),
    "task-sparse-count-more": (with_sparse([0b0011, 1, 2, 3]), _CELLS, "three numbers, and two bits in the mask"),
    "task-sparse-count-fewer": (with_sparse([0b1111, 1, 2, 3]), _CELLS, "three numbers, and four bits in the mask"),
    "task-sparse-zero-kept": (with_sparse([0b1011, 1, 0, 3]), _CELLS, "a zero is left out, never stored"),
    "task-sparse-padding": (with_sparse([0b1011, 1, 2, 3, *[0] * 59, 1]), _CELLS, "filled up with zeros"),
    "task-sparse-too-long": (with_sparse([0b1011, 1, 2, 3], size=128), _CELLS, "64 bytes are enough"),
    "task-sparse-not-padded": (with_sparse([0b1011, 1, 2, 3], size=8), _CELLS, "filled up to a multiple of 64"),
    "task-sparse-other-shape": (with_sparse([0b1011, 1, 2, 3], shapes={_CELLS: [4]}), _CELLS, "the fleet takes [1, 4]"),
    "task-sparse-shape-zero": (with_sparse([0], shapes={_CELLS: [0, 4]}), _CELLS, "a size is at least 1"),
    "task-sparse-shape-not-a-list": (with_sparse([0], shapes={_CELLS: 4}), _CELLS, "a shape is a list"),
    "task-sparse-shape-overflow": (
        with_sparse([0], shapes={_CELLS: [1 << 30, 1 << 30, 16]}),
        _CELLS,
        "more numbers than any file",
    ),
    "task-sparse-shape-nine-dimensions": (with_sparse([0], shapes={_CELLS: [1] * 9}), _CELLS, "at most 8"),
    "task-sparse-unknown": (with_sparse([0b1011, 1, 2, 3], name="more"), "more", "there is no such tensor"),
    "task-sparse-of-floats": (
        with_sparse([0b1011, 1, 2, 3], shapes={_CELLS: [1, 4], "norm.weight": [4]}),
        "norm.weight",
        "what is stored is U8",
    ),
    "task-sparse-as-int8": (with_sparse([0b1011, 1, 2, 3], dtype="I8"), _CELLS, "what is stored is U8"),
    "task-sparse-not-said": (with_sparse([0b1011, 1, 2, 3], shapes={}), _CELLS, "the fleet takes int8"),
    "task-tensor-misaligned": (_misaligned(), "memories.0.layout", "elements are aligned"),
}
assert _BODY % 64 == 0
