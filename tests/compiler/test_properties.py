"""Memories of any shape, all the way: eager, fused graph, packed graph, and the program on our kernels agree."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from spartanc.compiler.capture import capture
from spartanc.compiler.lower import lower
from spartanc.models.memory import Memory, SpartanConfig
from spartanc.passes.fuse_memories import FuseMemories, fuse_memories
from spartanc.passes.manager import check_order, run_passes
from spartanc.passes.pipelines import final_passes
from spartanc.runtime_py.devices.local import LocalDevice

VOCABULARY, LONGEST = 40, 24


class Stack(nn.Module):
    """Token vectors through some memories, one after another, and a head: nothing but memories to get wrong."""

    def __init__(self, config: SpartanConfig, hidden: int, layers: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.words = nn.Embedding(VOCABULARY, hidden)
        self.memories = nn.ModuleList(Memory(config, hidden) for _ in range(layers))
        self.head = nn.Linear(hidden, 3)
        with torch.no_grad():
            for memory in self.memories:
                for parameter in (memory.parents, memory.keys, memory.values):
                    parameter.normal_(std=hidden**-0.5)

    def forward(self, input_ids, attention_mask):
        x_BSH = self.words(input_ids) * attention_mask.unsqueeze(-1)
        for memory in self.memories:
            x_BSH = memory(x_BSH)
        return self.head(x_BSH.mean(1))


@st.composite
def shapes(draw):
    parents = draw(st.integers(1, 20))
    config = SpartanConfig(
        parents=parents,
        cells=parents * draw(st.integers(1, 5)),
        top_k=draw(st.sampled_from([1, parents, draw(st.integers(1, parents))])),
        temperature=draw(st.sampled_from([0.5, 1.0, 1.6, 3.0])),
        layer_norm=draw(st.sampled_from(["none", "post"])),
    )
    # A hidden size of 1 has no direction to choose by; `test_a_hidden_size_of_one_...` is all that is asked of it.
    return config, draw(st.integers(2, 70)), draw(st.integers(1, 3)), draw(st.integers(0, 2**31))


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(shapes())
def test_eager_graphs_and_program_agree(drawn):
    config, hidden, layers, seed = drawn
    module = Stack(config, hidden, layers, seed).eval()
    generator = np.random.default_rng(seed)
    rows = [
        (generator.integers(0, VOCABULARY, (1, length)), np.ones((1, length), np.int64))
        for length in (1, 2, int(generator.integers(3, LONGEST)), LONGEST)
    ]
    program = capture(module, LONGEST)
    fused, report = fuse_memories(program)
    assert report.fused == layers
    packed, _ = run_passes(fused, final_passes(), rows, given=check_order([FuseMemories()]))
    lowered = lower(packed)
    assert sum(n for op, n in lowered.fallback_ops.items() if op.startswith("spartan::memory_lookup")) == layers
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.pte"
        path.write_bytes(lowered.program)
        computed = LocalDevice().run(Path(scratch), path, rows)
    scale = 0.0
    for (ids, mask), logits in zip(rows, computed, strict=True):
        arguments = torch.from_numpy(ids), torch.from_numpy(mask)
        with torch.no_grad():
            expected = module(*arguments)
            for graph in (fused, packed):
                torch.testing.assert_close(graph.module()(*arguments), expected, atol=2e-5, rtol=2e-5)
        np.testing.assert_allclose(logits, expected[0].numpy(), atol=2e-5, rtol=2e-5)
        scale = max(scale, float(expected.abs().max()))
    assert scale > 0.01, "a reference of zeros would agree with anything"


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(shapes(), st.integers(1, 4))
def test_batches_agree_in_the_fused_graph(drawn, batch):
    config, hidden, layers, seed = drawn
    module = Stack(config, hidden, layers, seed).eval()
    ids = torch.randint(0, VOCABULARY, (batch, 7), generator=torch.Generator().manual_seed(seed))
    fused, report = fuse_memories(torch.export.export(module, (ids, torch.ones_like(ids)), strict=False))
    assert report.fused == layers
    with torch.no_grad():
        expected = module(ids, torch.ones_like(ids))
        torch.testing.assert_close(fused.module()(ids, torch.ones_like(ids)), expected, atol=2e-5, rtol=2e-5)


def test_a_hidden_size_of_one_is_fused_or_left_alone_and_never_a_crash():
    for parents, cells, top_k in ((1, 1, 1), (3, 3, 1), (3, 6, 3)):
        module = Stack(SpartanConfig(parents=parents, cells=cells, top_k=top_k), 1, 1, 0).eval()
        _, report = fuse_memories(capture(module, LONGEST))
        assert report.fused == 1 or report.skipped
