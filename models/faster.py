"""A training step in less time, and in the arithmetic that is asked for.

    attention    one fused operator instead of product, softmax, product; equal to fp32 rounding
    the rest     linears, embeddings and memories by the forms of an arithmetic, see `spartanc.models.arithmetic`

Models are exported with plain attention, the memory's plain form and fp32 weights, so all this holds inside a `with`
only. On a processor with AMX or AVX512-BF16 a product in bf16 takes a third to a sixth of the time; on others it may
take longer than fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from spartanc.models.arithmetic.catalogue import find_arithmetic
from spartanc.models.classifier import SpartanClassifier

PRECISIONS = ("fp32", "bf16")


@contextmanager
def faster(classifier: SpartanClassifier, precision: str = "fp32", arithmetic: str = "fp32") -> Iterator[None]:
    """Inside, `classifier` computes by the fast forms of an arithmetic, its frozen linears as `precision` says."""
    network: Any = classifier.network
    changed: list[nn.Module] = []
    forms = find_arithmetic(arithmetic)
    before = network.config._attn_implementation
    if network._supports_sdpa:
        network.set_attn_implementation("sdpa")
    try:
        for memory in classifier.memories():
            _put(memory, forms.memory(memory), changed)
        logits = classifier.last_linear()
        for part in classifier.modules():
            if isinstance(part, nn.Embedding):
                if part.num_embeddings == classifier.config.vocab_size:  # the others a program adds up in fp32
                    _put(part, forms.embedding(part), changed)
            elif isinstance(part, nn.Linear) and part is not logits:
                _put(part, forms.linear(part, precision), changed)
        yield
    finally:
        network.set_attn_implementation(before)
        for part in changed:
            del part.forward


def _put(part: nn.Module, forward: Any, changed: list[nn.Module]) -> None:
    """A method in place of the class's own, deleted again afterwards."""
    if forward is not None:
        part.forward = forward
        changed.append(part)
