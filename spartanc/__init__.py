"""spartanc: compiles trained SPARTAN sparse-memory Transformers to small Arm devices, and runs what it compiled.

    result = spartanc.compile("model.pt", target="rpi4", out="bundle", quantize="int8")
    with spartanc.load("bundle") as model:
        model.classify(["how far is Denver?"])

The ten names below are the whole stable interface; docs/python-api.md describes them. Each is imported when it is first
used: `import spartanc` needs the standard library only, and `load` needs numpy and tokenizers, no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spartanc import errors
from spartanc.base.version import VERSION as __version__
from spartanc.errors import SpartancError

if TYPE_CHECKING:
    from spartanc.api import bench, compile, train, verify
    from spartanc.passes.fuse_memories import fuse_memories
    from spartanc.runtime_py.loading import load
    from spartanc.runtime_py.prediction import Prediction

__all__ = [
    "Prediction",
    "SpartancError",
    "__version__",
    "bench",
    "compile",
    "errors",
    "fuse_memories",
    "load",
    "train",
    "verify",
]

_HOMES = {
    "Prediction": "spartanc.runtime_py.prediction",
    "bench": "spartanc.api",
    "compile": "spartanc.api",
    "fuse_memories": "spartanc.passes.fuse_memories",
    "load": "spartanc.runtime_py.loading",
    "train": "spartanc.api",
    "verify": "spartanc.api",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module `spartanc` has no attribute `{name}`")
    found = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
