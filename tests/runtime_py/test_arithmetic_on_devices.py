"""What training computes in 4 bits is what kernels compute, here and on every board's processor."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from spartanc.base.schemes.int4 import INT4 as SCHEME
from spartanc.compiler.lower import lower
from spartanc.models.arithmetic.catalogue import find_arithmetic
from spartanc.models.memory import Memory, SpartanConfig
from spartanc.passes.fuse_memories import FuseMemories
from spartanc.passes.memory_site import FormChoice
from spartanc.passes.quantize_embeddings import QuantizeEmbeddings
from spartanc.passes.quantize_linears_int4 import QuantizeLinearsInt4
from spartanc.passes.schemes.catalogue import passes_of
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.qemu import QemuDevice

INT4 = find_arithmetic("int4")
HIDDEN, WIDE, ROWS = 96, 64, 50


class Parts(nn.Module):
    """One embedding, one memory and one linear that read it, and how they come out, flat; logits last."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(ROWS, HIDDEN)
        self.memory = Memory(SpartanConfig(8, 24, 3), HIDDEN)
        self.memory.reset_parameters(std=0.3, value_std=0.5)
        self.wide, self.last = nn.Linear(HIDDEN, WIDE), nn.Linear(WIDE, 2)
        # Rows of a 4-bit table are fractions of each other, and many stand on a half of a step, where a bit decides.
        self.register_buffer("channels", torch.rand(HIDDEN) + 0.5)

    def forward(self, ids, mask):
        x = self.words(ids) * mask.unsqueeze(-1)
        parts = [x, self.memory(x), self.wide(x * self.channels)]
        logits = self.last(parts[2].mean(1))
        return torch.cat([*(part.reshape(1, -1) for part in parts), logits], 1)


def written(module, folder):
    ids = torch.randint(0, ROWS, (1, 8))
    length = torch.export.Dim("length", min=1, max=32)
    program = torch.export.export(module, (ids, torch.ones_like(ids)), dynamic_shapes=({1: length}, {1: length}))
    program = program.run_decompositions({})
    passes = [
        FuseMemories(),
        passes_of(SCHEME).memories(FormChoice()),
        QuantizeEmbeddings(bits=4),
        QuantizeLinearsInt4(),
    ]
    for each in passes:
        program, report = each.run(program)
        assert report.changes == 1, each.name
    path = folder / "parts.pte"
    path.write_bytes(lower(program).program)
    return path


def devices():
    yield pytest.param(LocalDevice, id="here")
    missing = shutil.which("qemu-aarch64") is None
    for cpu in ("cortex-a53", "cortex-a72", "cortex-a76"):
        mark = pytest.mark.skipif(missing, reason="qemu-aarch64 is not installed")
        yield pytest.param(lambda cpu=cpu: QemuDevice("rpi4", cpu), id=cpu, marks=mark)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    torch.manual_seed(3)
    module, folder = Parts().eval().requires_grad_(False), tmp_path_factory.mktemp("parts")
    return module, folder, written(module, folder)


@pytest.mark.parametrize("make", list(devices()))
def test_embedding_memory_and_linear_are_the_kernels_to_a_millionth_of_the_rows_scale(make, parts):
    module, folder, program = parts
    device = make()
    for length in (1, 7, 32):  # a process answers rows of one length, since the output is as long as its row
        ids = np.random.default_rng(length).integers(0, ROWS, (1, length))
        (flat,) = device.run(folder, program, [(ids, np.ones_like(ids))])
        with torch.no_grad():
            x = INT4.embedding(module.words)(torch.from_numpy(ids))
            expected = {
                "embedding": x,
                "memory": INT4.memory(module.memory)(x),
                "linear": INT4.linear(module.wide, "fp32")(x * module.channels),
            }
        start = 0
        for name, part in expected.items():
            got = torch.from_numpy(flat[start : start + part.numel()]).view_as(part)
            start += part.numel()
            off = (got - part).abs().amax(-1) / part.abs().amax(-1)
            if name == "memory":  # a weight on a half before it becomes an integer may be rounded either way
                assert (off <= 2e-6).double().mean() > 0.9 and off.max() < 1e-2
            else:
                assert off.max() <= {"embedding": 0, "linear": 1e-6}[name]
        assert start + 2 == len(flat)
