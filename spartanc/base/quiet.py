"""Silence of the libraries: their notes on deprecations and absent GPU extensions are not the user's business."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_SETTINGS = {"TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
_LOGGERS = ("torch.utils._pytree", "torchao", "torch.export", "executorch", "root")


def hush() -> None:
    """Call before torch is imported. `SPARTANC_VERBOSE=1` lets everything through."""
    if os.environ.get("SPARTANC_VERBOSE"):
        return
    warnings.filterwarnings("ignore")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def hushed() -> Iterator[None]:
    """As `hush`, until the end of the block: for callers whose process is not ours to change."""
    before = {name: os.environ.get(name) for name in _SETTINGS}
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    with warnings.catch_warnings():
        hush()
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
