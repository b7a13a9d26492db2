"""An encoder as slimming sees it: hidden states after every layer, and the feed-forward pairs between them.

Legend: B batch, L tokens, H hidden size, U units of a feed-forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from spartanc.errors import UnsupportedModelError
from spartanc.models.backbone import Backbone, build_classifier
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.encoders.adapter import EncoderAdapter
from spartanc.models.encoders.feed_forward import FeedForward, feed_forwards


class Encoder(nn.Module):
    """A pretrained encoder without memories or head: `forward(ids, mask)` gives hidden states after every layer.

    They are tuples of [B, L, H]; one more stands before them where `embeddings` is asked for.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        reason = _why_not(backbone.adapter)
        if reason is not None:
            raise UnsupportedModelError(
                f"encoders of `{backbone.adapter.model_type}` can't be slimmed: {reason}",
                hint="train on the encoder as it is",
            )
        self.classifier: SpartanClassifier = build_classifier(backbone, None, outputs=2, pairs=False, pooling="mean")
        self.classifier.eval()
        network: Any = self.classifier.network
        if network._supports_sdpa:
            network.set_attn_implementation("sdpa")

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        states: list[Tensor] = []

        def keep(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
            states.append(out[0] if isinstance(out, tuple) else out)

        handles = [layer.register_forward_hook(keep, with_kwargs=True) for layer in self.classifier.layers()]
        try:
            self.classifier(input_ids, attention_mask)
        finally:
            for handle in handles:
                handle.remove()
        return tuple(states)

    @property
    def pad_id(self) -> int:
        pad = self.classifier.config.pad_token_id
        return 0 if pad is None else int(pad)

    def feed_forwards(self) -> list[FeedForward]:
        """Of every stored layer, in order; an encoder that applies one layer N times has one."""
        return feed_forwards(self.classifier.layers(), self.classifier.adapter)

    @property
    def repeats(self) -> bool:
        """Whether one stored layer is applied several times."""
        return self.classifier.adapter.unroll is not None

    def tensors(self) -> dict[str, Tensor]:
        """The encoder's tensors by the names of Hugging Face's sequence classifier."""
        base = f"network.{self.classifier.adapter.base}."
        state = self.classifier.state_dict()
        return {name.removeprefix("network."): tensor for name, tensor in state.items() if name.startswith(base)}

    def layers_parameters(self) -> list[nn.Parameter]:
        """What distillation trains: everything in the layers, embeddings apart."""
        return [parameter for layer in self.classifier.layers() for parameter in layer.parameters()]


class Stop(Exception):
    """Ends a forward pass early; raised and caught here alone."""


@contextmanager
def watched(feed_forward: FeedForward, to_the_end: bool) -> Iterator[list[Tensor]]:
    """Inside, forward passes append x [B, L, H], a [B, L, U] and y [B, L, H] of a pair, as often as it is applied.

    to_the_end: whether a pass goes on behind it; else it ends with a Stop.
    """
    seen: list[Tensor] = []

    def before(module: nn.Module, args: tuple[Tensor]) -> None:
        seen.append(args[0])

    def after(module: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        seen.extend((args[0], out))
        if not to_the_end:
            raise Stop

    handles = [
        feed_forward.first.register_forward_pre_hook(before),
        feed_forward.second.register_forward_hook(after),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _why_not(adapter: EncoderAdapter) -> str | None:
    if adapter.feed_forward_is_gated:
        return "units of gated feed-forwards are pairs"
    return "its layers stack feed-forwards" if adapter.feed_forwards_are_stacked else None
