"""A module that applies one linear several times, as ALBERT applies its layer."""

import torch
from torch import nn


class AppliedOften(nn.Module):
    """`shared` reads three inputs that have other sizes each time; `other` reads the first of them too."""

    def __init__(self):
        super().__init__()
        self.shared, self.other, self.last = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 2)
        channels = torch.ones(32)
        channels[5], channels[17] = 40.0, 25.0
        self.register_buffer("channels", channels)

    def forward(self, x):
        x = x * self.channels
        state = torch.tanh(self.shared(x)) + self.other(x)
        for scale in (3.0, 0.3):
            state = torch.tanh(self.shared(scale * state * self.channels))
        return self.last(state).mean(1)


def exported():
    torch.manual_seed(0)
    module = AppliedOften().eval()
    return module, torch.export.export(module, (torch.randn(1, 6, 32),)).run_decompositions({})


def texts(count=40):
    return [(torch.randn(1, 6, 32),) for _ in range(count)]
