"""Embedding tables in int8: close to fp32, counted, and the input program left as it was."""

import pytest
import torch
from torch import nn

from spartanc.passes.quantize_embeddings import QuantizeEmbeddings, quantize_rows


class TwoTables(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(50, 24)
        self.kinds = nn.Embedding(20, 24)

    def forward(self, ids):
        return self.words(ids) + self.kinds(ids % 20)


class ComputedTable(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(10, 8))

    def forward(self, ids):
        return nn.functional.embedding(ids, self.table.tanh())


def _export(module, ids):
    return torch.export.export(module.eval(), (ids,)).run_decompositions({})


@pytest.mark.parametrize("stock", [False, True])
def test_both_tables_become_int8_within_half_a_step(stock):
    module, ids = TwoTables(), torch.randint(0, 50, (1, 7))
    program = _export(module, ids)
    changed, report = QuantizeEmbeddings(stock).run(program)
    namespaces = {node.target.namespace for node in changed.graph.nodes if node.op == "call_function"}
    assert ("quantized_decomposed" in namespaces) == (not stock)
    assert report.changes == 2
    assert QuantizeEmbeddings().holds(program) is not None, "the input program must be left as it was"
    assert QuantizeEmbeddings().holds(changed) is None
    step = sum(table.weight.abs().max() / 254 for table in (module.words, module.kinds))
    assert (changed.module()(ids) - module(ids)).abs().max() <= step * 1.001
    assert not any(t.dtype == torch.float32 and t.dim() == 2 and t.shape[1] > 1 for t in changed.state_dict.values())


def test_a_computed_table_is_left_alone_with_its_reason():
    changed, report = QuantizeEmbeddings().run(_export(ComputedTable(), torch.randint(0, 10, (1, 4))))
    assert report.changes == 0
    assert "computed" in report.skipped[0].reason
    assert QuantizeEmbeddings().holds(changed) is None


@pytest.mark.parametrize("stock", [False, True])
def test_a_table_of_few_rows_stays_in_fp32_with_its_reason(stock):
    """Two segments' rounding would be one error at every position, which nothing evens out."""
    module = TwoTables()
    module.kinds = nn.Embedding(16, 24)
    module.forward = lambda ids: module.words(ids) + module.kinds(ids % 16)
    changed, report = QuantizeEmbeddings(stock).run(_export(module, torch.randint(0, 50, (1, 7))))
    assert report.changes == 1
    assert "16 rows" in report.skipped[0].reason
    assert QuantizeEmbeddings(stock).holds(changed) is None


def test_rows_of_zeros_and_outliers_keep_their_values():
    weight = torch.zeros(3, 16)
    weight[1, 3] = 1000.0
    weight[2] = torch.linspace(-1, 1, 16)
    rows, scale = quantize_rows(weight)
    back = rows * scale[:, None]
    assert torch.equal(back[0], weight[0])
    assert torch.equal(back[1], weight[1])
    assert (back[2] - weight[2]).abs().max() <= 1 / 254 + 1e-6
