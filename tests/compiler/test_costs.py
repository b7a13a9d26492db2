"""Costs counted by hand against those read off a graph."""

import pytest
import torch
from torch import nn

from spartanc.compiler.costs import operator_costs


class Mixed(nn.Module):
    """x [1, L, 8] through a linear, an attention-like product of L by L, and a norm."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 6)
        self.norm = nn.LayerNorm(6)
        self.table = nn.Embedding(100, 8)

    def forward(self, ids):
        y = self.linear(self.table(ids))
        return self.norm(torch.matmul(torch.matmul(y, y.transpose(1, 2)), y))


@pytest.fixture(scope="module")
def costs():
    length = torch.export.Dim("length", min=1, max=64)
    example = (torch.ones(1, 5, dtype=torch.int64),)
    program = torch.export.export(Mixed().eval(), example, dynamic_shapes=({1: length},))
    return {row["op"].partition(".")[0]: row for row in operator_costs(program.run_decompositions({}))}


def test_a_linear_costs_its_length_times_its_weights(costs):
    row = costs["aten::linear"]
    assert row["macs"] == pytest.approx([0, 8 * 6, 0])
    assert row["weight_bytes"] == 4 * (8 * 6 + 6)
    assert row["activation_bytes"] == pytest.approx([0, 4 * (8 + 6), 0])


def test_products_of_positions_grow_with_the_square_of_the_length(costs):
    row = costs["aten::matmul"]
    assert row["calls"] == 2
    assert row["macs"] == pytest.approx([0, 0, 2 * 6])


def test_an_embedding_reads_rows_and_not_its_table(costs):
    row = costs["aten::embedding"]
    assert row["weight_bytes"] == 0
    assert row["activation_bytes"] == pytest.approx([0, 8 + 4 * 8, 0])  # an id and a row a token


def test_shape_plumbing_is_left_out(costs):
    assert not {name for name in costs if "transpose" in name or "sym_size" in name}


def test_attention_in_windows_grows_with_the_length():
    from spartanc.passes.ops import register

    register()

    class Windowed(nn.Module):
        def forward(self, x):
            return torch.ops.spartan.window_attention(None, x, None, 2, 3)

    length = torch.export.Dim("length", min=1, max=64)
    program = torch.export.export(Windowed(), (torch.randn(1, 5, 24),), dynamic_shapes=({1: length},))
    (row,) = operator_costs(program)
    assert row["macs"] == pytest.approx([0, 2 * 8 * 7, 0])  # 8 numbers of seven keys, and of seven values


def test_a_memory_counts_the_parents_and_the_chosen_cells():
    from spartanc.passes.ops import memory_lookup  # noqa: F401  (registers the operator)

    class Memory(nn.Module):
        def __init__(self):
            super().__init__()
            self.parents, self.keys, self.values = (
                nn.Parameter(torch.randn(rows, 8), requires_grad=False) for rows in (4, 12, 12)
            )

        def forward(self, x):
            return torch.ops.spartan.memory_lookup(x, self.parents, self.keys, self.values, 2, 1.6)

    length = torch.export.Dim("length", min=1, max=64)
    program = torch.export.export(Memory(), (torch.randn(1, 5, 8),), dynamic_shapes=({1: length},))
    (row,) = operator_costs(program)
    assert row["op"] == "spartan::memory_lookup"
    assert row["macs"] == pytest.approx([0, 8 * (4 + 2 * 2 * 3), 0])
    assert row["weight_bytes"] == 4 * 8 * (4 + 12 + 12)
