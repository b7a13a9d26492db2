"""Every version that goes into a bundle, as its manifest lists them."""

from __future__ import annotations

import importlib.metadata
import platform

from spartanc.base.targets.target import Target
from spartanc.base.version import VERSION
from spartanc.runtime_py.build import runtime_versions

PACKAGES = ("torch", "executorch", "torchao", "transformers", "safetensors", "tokenizers", "numpy")


def versions(runtime_for: Target | None) -> dict[str, str]:
    """Of this program, Python and the packages; and of what built the runtime, where one is part of the bundle."""
    packages = {package: importlib.metadata.version(package) for package in PACKAGES}
    own = {"spartanc": VERSION, "python": platform.python_version()}
    return own | packages | ({} if runtime_for is None else runtime_versions(runtime_for))
