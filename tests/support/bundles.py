"""A small bundle around any program, with a manifest that its reader accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.files import file_digest
from spartanc.runtime_py.bundle import (
    FORMAT,
    MANIFEST,
    MANIFEST_DIGEST,
    PLAIN,
    manifest_digest_line,
)
from spartanc.runtime_py.devices.local import LocalDevice


def seal(folder: Path, **fields: Any) -> Path:
    """Write manifest and digest for what stands in `folder`; `fields` replace or add to the manifest's."""
    for name in (MANIFEST, MANIFEST_DIGEST):
        (folder / name).unlink(missing_ok=True)
    files = {
        file.relative_to(folder).as_posix(): {"sha256": file_digest(file), "bytes": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    manifest = {
        "format": FORMAT,
        "format_version": PLAIN,
        "target": "host",
        "program": "model.pte",
        "problem": "classification",
        "labels": ["no", "yes", "maybe"],
        "max_length": 24,
        "quantization": "none",
        "lowering": "fused",
        "probe": fields.get("probe") or probe_of(folder / fields.get("program", "model.pte")),
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest | fields))
    (folder / MANIFEST_DIGEST).write_text(manifest_digest_line(file_digest(folder / MANIFEST)))
    return folder


def probe_of(program: Path) -> dict[str, Any]:
    """What the program says to one row, as its manifest has it."""
    ids, mask = [[3, 1, 4, 1, 5]], [[1] * 5]
    row = (np.array(ids, np.int64), np.array(mask, np.int64))
    logits = LocalDevice().run(program.parent / "none", program, [row])[0]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "logits": [[float(each) for each in logits]],
        "tolerance": 1e-4,
    }


def make_bundle(folder: Path, program: Path, **fields: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.pte").write_bytes(program.read_bytes())
    return seal(folder, **fields)
