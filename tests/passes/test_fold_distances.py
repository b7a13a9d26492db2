"""fold_distances: which row a distance reads is stored, not computed again by another library's logarithm."""

from __future__ import annotations

import torch

from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.fold_distances import FoldDistances
from support.captured import assert_same_results, captured

aten = torch.ops.aten


def count(program, target) -> int:
    return sum(node.target is target for node in program.graph.nodes)


def test_buckets_by_logarithms_become_squares_that_layers_share():
    program, _ = DropNoopOps().run(captured("deberta-v2"))  # assertions would keep what nothing reads
    assert (count(program, aten.gather.default), count(program, aten.log.default)) == (4, 2)
    result, report = FoldDistances().run(program)
    assert (report.changes, report.skipped) == (4, [])
    assert (count(result, aten.gather.default), count(result, aten.log.default)) == (4, 0)
    assert sum("distances" in node.name for node in result.graph.nodes if node.op == "placeholder") == 2
    assert_same_results(result, program, 0.0)


def test_encoders_that_gather_nothing_are_left_as_they_are():
    result, report = FoldDistances().run(captured("bert"))
    assert (report.changes, report.skipped) == (0, [])
    assert [node.name for node in result.graph.nodes] == [node.name for node in captured("bert").graph.nodes]
