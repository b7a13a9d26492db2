"""Adapter baselines: start as the plain encoder, and train what they should."""

import pytest
import torch

from spartanc.errors import UsageError
from spartanc.models.baselines import METHODS, BaselineClassifier
from spartanc.models.classifier import SpartanClassifier
from support.models import ARCHITECTURES, tiny_encoder_config

HIDDEN, LAYERS, NORMS = 32, 2, 2 * (2 * 2 + 1) * 32


def plain(architecture):
    torch.manual_seed(0)
    return SpartanClassifier(tiny_encoder_config(architecture, LAYERS, HIDDEN), None).eval()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_baseline_starts_as_the_plain_encoder_and_learns(architecture, method):
    ids = torch.randint(4, 60, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    expected = plain(architecture)(ids, mask)
    model = BaselineClassifier(plain(architecture), method)
    torch.testing.assert_close(model(ids, mask), expected, rtol=0, atol=1e-6)
    names = set(model.task_names())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    model(ids, mask).square().sum().backward()
    assert any("classifier" in name for name in names)
    for name, parameter in model.named_parameters():
        if name in names and "added_down" not in name:  # nothing flows back through zeros at first
            assert parameter.grad is not None or "embedding" in name or "pooler" in name, name


def test_sizes_are_those_of_the_papers():
    def added(method, size):
        model = BaselineClassifier(plain("roberta"), method, size)
        names = set(model.task_names())
        return sum(
            value.numel() for name, value in model.named_parameters() if name in names and "classifier" not in name
        )

    bottleneck = 2 * HIDDEN * 6 + HIDDEN + 6
    assert added("houlsby", 6) == LAYERS * 2 * bottleneck + NORMS
    assert added("pfeiffer", 6) == LAYERS * bottleneck
    assert added("lora", 3) == LAYERS * 2 * 2 * HIDDEN * 3
    assert added("head", None) == 0


def test_unknown_method_is_named():
    with pytest.raises(UsageError, match="`prompt` is not one of houlsby"):
        BaselineClassifier(plain("bert"), "prompt")
