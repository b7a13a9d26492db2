"""What a path holds that is no model of ours: said by its name, with what to do instead."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from spartanc.errors import UsageError

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Files of other frameworks, by the ending of their names.
_OTHERS = {
    ".onnx": "an ONNX model",
    ".gguf": "a GGUF model",
    ".tflite": "a TFLite model",
    ".h5": "TensorFlow weights",
    ".msgpack": "Flax weights",
    ".pte": "an ExecuTorch program",
}
_WANTED = "a directory with config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json"


def explain_missing(path: Path, what: str, wanted: str = _WANTED) -> NoReturn:
    """Raise for a path that does not exist: a misspelt one, or a name on the Hugging Face Hub."""
    if _HUB_NAME.fullmatch(str(path)) and path.suffix not in (".pt", ".bin", ".safetensors", *_OTHERS):
        raise UsageError(
            f"no {what} at `{path}`",
            hint=f"nothing is downloaded here; if it is a name on the Hugging Face Hub, fetch it first:"
            f" `hf download {path} --local-dir DIR`, and give DIR",
        )
    raise UsageError(f"no {what} at `{path}`", hint=f"give {wanted}")


def explain_foreign_file(path: Path, wanted: str = f"the encoder that it was made from: {_WANTED}") -> None:
    """Raise for a file of another framework; return for any other."""
    kind = _OTHERS.get(path.suffix)
    if kind is not None:
        raise UsageError(f"`{path}` is {kind}, and spartanc reads PyTorch weights", hint=f"give {wanted}")


def explain_file(path: Path) -> NoReturn:
    """Raise for a file where an encoder's directory is asked for."""
    explain_foreign_file(path)
    if path.suffix == ".pt":
        raise UsageError(
            f"`{path}` is a file, where the directory of an encoder is asked for",
            hint="to start from the memories of a trained model: --init-from, beside --backbone DIR",
        )
    raise UsageError(f"`{path}` is a file, not the directory of an encoder", hint=f"give {_WANTED}")


def explain_directory(directory: Path) -> None:
    """Raise for a directory of something else; return where nothing in it is known."""
    adapter = directory / "adapter_config.json"
    if adapter.is_file():
        _explain_adapter(directory, adapter)
    if (directory / "modules.json").is_file():
        inner = [each.parent.name for each in sorted(directory.glob("*/config.json")) if each.parent.name[:1] == "0"]
        if inner:
            raise UsageError(
                f"`{directory}` is a sentence-transformers model whose encoder lies in a folder of it",
                hint=f"give `{directory / inner[0]}`",
            )
    for path in sorted([*directory.glob("*"), *directory.glob("onnx/*")]):
        if path.suffix in _OTHERS and path.is_file():
            raise UsageError(
                f"`{directory}` holds {_OTHERS[path.suffix]} (`{path.relative_to(directory)}`) and no PyTorch weights",
                hint=f"give the encoder that it was made from: {_WANTED}",
            )


def _explain_adapter(directory: Path, path: Path) -> NoReturn:
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    if not isinstance(config, dict):
        config = {}
    if "peft_type" in config:
        base = config.get("base_model_name_or_path")
        raise UsageError(
            f"`{directory}` is a peft adapter ({config['peft_type']}) of `{base}`, not an encoder",
            hint="merge it into its encoder with peft (`model.merge_and_unload().save_pretrained(DIR)`, and the"
            " tokenizer) and give DIR; or give the encoder itself",
        )
    raise UsageError(
        f"`{directory}` is an adapter of the adapters library, of `{config.get('model_name')}`, not an encoder",
        hint="spartanc trains memories in the place of adapters: give the encoder itself",
    )
