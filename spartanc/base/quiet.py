"""Silence of the libraries: their notes on deprecations and absent GPU extensions are not the user's business."""

from __future__ import annotations

import logging
import os
import warnings


def hush() -> None:
    """Call before torch is imported. `SPARTANC_VERBOSE=1` lets everything through."""
    if os.environ.get("SPARTANC_VERBOSE"):
        return
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("torch.utils._pytree", "torchao", "torch.export", "executorch", "root"):
        logging.getLogger(name).setLevel(logging.ERROR)
