"""The versions that a training depends on: with the same ones, the same seed gives the same bytes on one machine."""

from __future__ import annotations

import importlib.metadata
import platform

from spartanc.base.version import VERSION

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


def training_versions() -> dict[str, str]:
    """Of this program, Python and the packages."""
    packages = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"spartanc": VERSION, "python": platform.python_version(), **packages}
