"""A user's program as `mypy --strict` sees it; tests/test_api.py checks it, nothing runs it.

An ignored line must be an error: strict refuses an ignore that nothing needs.
"""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import torch

import spartanc
from spartanc.errors import GateError

result = spartanc.compile("model.pt", target="rpi4", out="bundle", quantize="int8")
assert_type(result.bundle, str)
assert_type(result.files, dict[str, int])
assert_type(result.seconds, float)
assert_type(result.quantization, str)
assert_type(result.as_json(), dict[str, Any])
spartanc.compile([Path("one.pt"), Path("other.pt")], target="host", out=Path("fleet"), shared_backbone=True)
spartanc.compile("model.pt", out="bundle")  # type: ignore[call-arg]
spartanc.compile("model.pt", target="host", out="bundle", format="onnx")  # type: ignore[arg-type]

with spartanc.load("bundle", threads=1, sessions=4, require_signature=None) as model:
    assert_type(model.tasks, tuple[str, ...])
    assert_type(model.labels(), tuple[str, ...])
    predictions = model.classify(["one text", ("one", "other")], task=None)
    assert_type(predictions, list[spartanc.Prediction])
    assert_type(predictions[0].label, str | None)
    assert_type(predictions[0].score, float)
    ids = np.ones((1, 4), np.int64)
    assert_type(model.logits(ids, ids), npt.NDArray[np.float32])
    predictions[0].label = "other"  # type: ignore[misc]
    model.classify([7])  # type: ignore[list-item]

assert_type(spartanc.verify("bundle", model="model.pt", data="test.jsonl").passed, bool)
assert_type(spartanc.bench("bundle", length=16).trustworthy, bool)
assert_type(
    spartanc.train(backbone="encoder", data="train.jsonl", eval="dev.jsonl", out="model.pt").labels, tuple[str, ...]
)


def fuse(program: torch.export.ExportedProgram) -> int:
    _, report = spartanc.fuse_memories(program)
    assert_type(report.fused, int)
    return len(report.skipped)


try:
    spartanc.load("bundle")
except GateError as error:
    assert_type(error.exit_code, int)
except spartanc.SpartancError as error:
    assert_type(error.hint, str | None)
assert_type(spartanc.__version__, str)
