"""What several tasks share: the encoder's tensors, its computation, its tokenizer; proved equal, never assumed.

A backbone's digest covers all three. Where two backbones differ, the first thing that does is named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel
from spartanc.passes.lift_task_tensors import tensor_digest

HINT = "tasks share a backbone when they were trained on the same encoder, frozen"


@dataclass(frozen=True)
class Backbone:
    """tensors: SHA-256 of every tensor by name; tokenizer: of its text, or "" where there is none."""

    tensors: dict[str, str]
    tokenizer: str
    computation: str

    @property
    def digest(self) -> str:
        lines = [f"{digest}  {name}" for name, digest in sorted(self.tensors.items())]
        lines += [f"tokenizer {self.tokenizer}", f"computation {self.computation}"]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "tokenizer": self.tokenizer,
            "computation": self.computation,
            "tensors": self.tensors,
        }


def backbone_constants(model: TrainedModel) -> dict[str, torch.Tensor]:
    """Parameters and buffers that no task owns."""
    return model.backbone_tensors() | dict(model.module.named_buffers())


def describe_backbone(model: TrainedModel, computation: tuple[str, ...]) -> Backbone:
    return Backbone(
        {name: tensor_digest(value) for name, value in backbone_constants(model).items()},
        "" if model.tokenizer is None else hashlib.sha256(model.tokenizer.encode()).hexdigest(),
        hashlib.sha256("\n".join(computation).encode()).hexdigest(),
    )


def require_equal_tensors(
    expected: Mapping[str, str], model: TrainedModel, of_model: str, of_expected: str, whole: str
) -> None:
    """Raise UsageError naming the first tensor of `model` that is not the one whose digest is `expected`.

    whole: the digest of the expected backbone.
    """
    found = {name: tensor_digest(value) for name, value in backbone_constants(model).items()}
    if found == expected:
        return
    name = next(name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name))
    if name not in found or name not in expected:
        who, other = (of_model, of_expected) if name in found else (of_expected, of_model)
        what = f"`{who}` has the tensor `{name}`, `{other}` has not"
    else:
        what = (
            f"the first tensor that differs is `{name}`: digest `{found[name]}` in `{of_model}`, `{expected[name]}` in"
            f" `{of_expected}`"
        )
    raise UsageError(
        f"`{of_model}` was not trained on the backbone of `{of_expected}` (`{whole}`): {what}",
        hint=f"{HINT}, and with one `--pooling`" if ".pooler." in name else HINT,
    )


def require_equal(expected: Mapping[str, Any], model: TrainedModel, computation: tuple[str, ...], of: str) -> None:
    """Raise UsageError unless tokenizer and computation of `model`, called `of`, are the backbone's too."""
    own = describe_backbone(model, computation)
    for what in ("tokenizer", "computation"):
        if getattr(own, what) != expected[what]:
            raise UsageError(
                f"`{of}` has another {what} than its backbone's: digest `{getattr(own, what)}`, expected"
                f" `{expected[what]}`",
                hint=HINT if what == "tokenizer" else "tasks of one fleet have one `--pooling` and one `--layer-norm`",
            )
