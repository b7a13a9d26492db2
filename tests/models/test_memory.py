"""The memory computes the operator's definition."""

import pytest
import torch

from spartanc.errors import SpartancError
from spartanc.models.memory import Memory, SpartanConfig
from spartanc.passes.ops.memory_lookup import memory_lookup


@pytest.mark.parametrize(
    ("parents", "cells", "top_k", "temperature"),
    [
        (16, 48, 8, 1.6),
        (5, 35, 5, 2.5),
        (12, 12, 1, 1.0),
        (4, 8, 1, 0.8),
        (1, 3, 1, 1.0),
        (1, 1, 1, 1.0),
        (7, 7, 3, 4),
    ],
)
def test_memory_is_residual_plus_lookup(parents, cells, top_k, temperature):
    torch.manual_seed(0)
    memory = Memory(SpartanConfig(parents, cells, top_k, temperature), hidden_size=24).double()
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.normal_()
    x = torch.randn(2, 9, 24, dtype=torch.float64)
    expected = x + memory_lookup(x, memory.parents, memory.keys, memory.values, top_k, float(temperature))
    torch.testing.assert_close(memory(x), expected, rtol=0, atol=1e-12)


def test_layer_norm_comes_after_the_residual():
    torch.manual_seed(0)
    config = SpartanConfig(4, 8, 2, 1.0, "post")
    memory = Memory(config, hidden_size=16, layer_norm_eps=1e-5)
    x = torch.randn(1, 3, 16)
    lookup = memory_lookup(x, memory.parents, memory.keys, memory.values, 2, 1.0)
    expected = torch.nn.functional.layer_norm(x + lookup, (16,), eps=1e-5)
    torch.testing.assert_close(memory(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("positions", [1, 2, 7])
@pytest.mark.parametrize(("parents", "top_k"), [(16, 4), (5, 2), (17, 8), (70, 9), (4, 4)])
def test_of_equal_parents_the_lower_indices_are_chosen(parents, top_k, positions):
    torch.manual_seed(0)
    memory = Memory(SpartanConfig(parents, parents, top_k), hidden_size=64)
    with torch.no_grad():
        memory.parents.copy_(torch.randn(64).expand(parents, 64))
    weights = memory.parent_weights(torch.randn(1, positions, 64))
    expected = (torch.arange(parents) < top_k).float() / top_k
    torch.testing.assert_close(weights, expected.expand_as(weights))
    with torch.no_grad():
        memory.parents.zero_()
    torch.testing.assert_close(memory.parent_weights(torch.randn(1, positions, 64)), expected.expand_as(weights))


def test_parent_weights_are_a_distribution_over_the_chosen():
    torch.manual_seed(0)
    memory = Memory(SpartanConfig(), hidden_size=32)
    weights = memory.parent_weights(torch.randn(3, 5, 32))
    assert weights.shape == (3, 5, 16)
    assert ((weights > 0).sum(-1) == 8).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 5))


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"cells": 50}, 2, "50 cells do not divide among 16 parents"),
        ({"top_k": 17}, 2, "top_k `17` is above the 16 parents"),
        ({"parents": 0}, 2, "at least 1, got `0`"),
        ({"top_k": True}, 2, "whole number"),
        ({"cells": 48.0}, 2, "whole number"),
        ({"temperature": 0.0}, 2, "above 0"),
        ({"temperature": float("nan")}, 2, "above 0"),
        ({"temperature": "1"}, 2, "must be a number"),
        ({"layer_norm": "both"}, 3, "`both` is not known"),
    ],
)
def test_wrong_config_names_the_value_and_the_rule(fields, code, said):
    with pytest.raises(SpartancError, match=said) as caught:
        SpartanConfig(**fields)
    assert caught.value.exit_code == code
