"""A parameter read through a function: under its own name, for every name, and plain again afterwards."""

import copy

import torch
from torch import nn

from spartanc.models.memory import Memory, SpartanConfig
from spartanc.models.sparsifiers.masked_weights import parameter_of, read_plainly, read_through


def memory() -> Memory:
    torch.manual_seed(0)
    return Memory(SpartanConfig(parents=4, cells=12, top_k=2, temperature=1.6), 16).eval()


def test_a_memory_computes_with_what_is_read_and_learns_in_the_parameter():
    masked, plain = memory(), memory()
    keys = masked.keys
    read_through(masked, "keys", lambda weight: 2 * weight)
    read_through(masked, "values", lambda weight: weight.tril())
    with torch.no_grad():
        plain.keys.mul_(2)
        plain.values.copy_(plain.values.tril())
    x = torch.randn(1, 5, 16)
    assert torch.equal(masked(x), plain(x)) and parameter_of(masked, "keys") is keys
    masked(x).square().sum().backward()
    plain(x).square().sum().backward()
    torch.testing.assert_close(keys.grad, 2 * plain.keys.grad)
    assert set(masked.state_dict()) == set(plain.state_dict())
    assert isinstance(masked, Memory) and list(dict(masked.named_parameters())) == list(dict(plain.named_parameters()))


def test_what_was_read_last_is_the_parameter_afterwards():
    module = memory()
    parameters = dict(module.named_parameters())
    before = copy.deepcopy(module.state_dict())
    read_through(module, "keys", lambda weight: weight + 1)
    read_through(module, "values", lambda weight: weight * 0)
    read_plainly(module, ["keys", "values"])
    assert type(module) is Memory and dict(module.named_parameters()).keys() == parameters.keys()
    assert all(value is parameters[name] for name, value in module.named_parameters())
    assert torch.equal(module.keys, before["keys"] + 1) and not module.values.any()
    assert torch.equal(module.parents, before["parents"])


def test_modules_do_not_share_what_they_are_read_through():
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    read_through(one, "weight", torch.zeros_like)
    assert not one.weight.any() and other.weight.any() and type(other) is nn.Linear
