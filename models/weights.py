"""What stands in a model's directory: config.json, and weights in one file or several.

Nothing but weights is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spartanc.base.files import file_digest
from spartanc.errors import UsageError
from spartanc.models.foreign import explain_directory

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def read_weights(directory: Path) -> dict[str, Tensor]:
    """All tensors of a directory by their names: of one file, or of the shards that an index lists.

    Raises UsageError where a file or a tensor of the index is missing, or cannot be read.
    """
    found = _weights_or_index(directory)
    if found is not None:
        return _read_shards(found) if found.suffix == ".json" else read_tensors(found)
    explain_directory(directory)
    raise UsageError(
        f"`{directory}` holds neither model.safetensors nor pytorch_model.bin",
        hint="nor an index of shards: model.safetensors.index.json or pytorch_model.bin.index.json",
    )


def weight_files(directory: Path) -> list[Path]:
    """The files that `read_weights` reads, the index of shards first."""
    found = _weights_or_index(directory)
    if found is None or found.suffix != ".json":
        return [] if found is None else [found]
    return [found, *(directory / shard for shard in sorted(set(_weight_map(found).values())))]


def directory_digests(directory: Path, tokenizer: str | None) -> dict[str, str]:
    """SHA-256 of what a directory's model is: the config's file, the weights' files, the tokenizer's text.

    tokenizer: what `read_tokenizer` gives. Raises OSError.
    """
    weights = hashlib.sha256()
    for path in weight_files(directory):
        weights.update(file_digest(path).encode())
    return {
        "config": file_digest(directory / "config.json"),
        "weights": weights.hexdigest(),
        "tokenizer": hashlib.sha256((tokenizer or "").encode()).hexdigest(),
    }


def _weights_or_index(directory: Path) -> Path | None:
    """The file of all weights, else the index of their shards."""
    names = (*_WEIGHTS, *(f"{name}.index.json" for name in _WEIGHTS))
    return next((directory / name for name in names if (directory / name).exists()), None)


def _weight_map(index: Path) -> dict[str, str]:
    """{tensor: shard} of an index; a shard is the name of a file beside it."""
    content = read_json(index)
    shards = content.get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(each, str) for each in shards.values()):
        raise UsageError(f"`{index}` has no `weight_map` of tensors to files")
    for shard in shards.values():
        if Path(shard).name != shard:
            raise UsageError(f"`{index}`: `{shard}` is not the name of a file beside it")
    return shards


def _read_shards(index: Path) -> dict[str, Tensor]:
    shards = _weight_map(index)
    files = sorted(set(shards.values()))
    absent = [each for each in files if not (index.parent / each).is_file()]
    if absent:
        raise UsageError(
            f"`{index.parent}` lacks {listed(absent)} of the {len(files)} files that `{index.name}` lists",
            hint="copy all of them beside it",
        )
    tensors: dict[str, Tensor] = {}
    for each in files:
        held = read_tensors(index.parent / each)
        lost = sorted(name for name, shard in shards.items() if shard == each and name not in held)
        if lost:
            raise UsageError(f"`{index.parent / each}` lacks tensors that `{index.name}` lists in it: {listed(lost)}")
        tensors |= held
    return tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` or torch file; UsageError where it holds anything else or cannot be
    read.
    """
    if not path.is_file():
        raise UsageError(f"no file `{path}`")
    if path.stat().st_size == 0:
        raise UsageError(f"`{path}` is empty")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except Exception as error:  # SafetensorError derives from Exception alone
            raise UsageError(f"`{path}` is not a readable safetensors file: {error}") from error
    content = unpickle_weights(path)
    named = isinstance(content, Mapping) and all(isinstance(name, str) for name in content)
    if not named or not all(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"`{path}` does not hold a state dict")
    return dict(content)


def unpickle_weights(path: Path) -> Any:
    try:
        _check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive raises half a dozen unrelated classes
        reason = str(error).strip().splitlines()
        raise UsageError(
            f"`{path}` is not a readable file of weights ({reason[0] if reason else type(error).__name__})",
            hint="it is damaged, or holds more than tensors and plain values, which is never loaded",
        ) from error


def _check_sums(path: Path) -> None:
    """torch reads an archive without looking at its checksums, so that a damaged weight would be a weight."""
    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    if is_archive:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of `{damaged}` does not agree")


def read_config(directory: Path) -> dict[str, Any]:
    """config.json of a model's directory."""
    if not (directory / "config.json").exists():
        explain_directory(directory)
    return read_json(directory / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; UsageError where it cannot be read or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read `{path}`: {error.strerror}", hint="is it a model's directory?") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"`{path}` is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"`{path}` does not hold a JSON object")
    return content


def listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
