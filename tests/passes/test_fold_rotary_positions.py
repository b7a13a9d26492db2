"""fold_rotary_positions: angles are tables, and heads turn in products of noughts and ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spartanc.compiler.capture import capture
from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.fold_rotary_positions import FoldRotaryPositions
from spartanc.passes.manager import run_passes
from spartanc.passes.rotation import rotation, turning
from spartanc.passes.split_linears import SplitLinears
from support.captured import assert_same_results, captured, rows

aten = torch.ops.aten


def count(program, *targets) -> int:
    return sum(node.target in targets for node in program.graph.nodes)


@pytest.mark.parametrize(("architecture", "tables"), [("modernbert", 4), ("nomic_bert", 2)])
def test_queries_and_keys_of_every_layer_turn_by_tables(architecture, tables):
    program, _ = run_passes(captured(architecture), [DropNoopOps(), SplitLinears()], rows())
    assert count(program, aten.cos.default, aten.sin.default) == tables
    assert count(program, aten.cat.default) == 4 + tables // 2
    result, report = FoldRotaryPositions().run(program)
    assert (report.changes, report.skipped) == (4, [])
    assert count(result, aten.cos.default, aten.sin.default, aten.cat.default, aten.neg.default) == 0
    assert sum(rotation(node) is not None for node in result.graph.nodes) == 4
    assert_same_results(result, program, 0)


def test_a_turn_puts_halves_in_each_others_place():
    x = torch.randn(3, 6)
    assert torch.equal(x @ turning(6), torch.cat([-x[:, 3:], x[:, :3]], -1))


class Rotary(nn.Module):
    """Heads [1, 2, L, 4] of what stands for an encoder's states; `change` spoils the site in one place."""

    def __init__(self, change: str = ""):
        super().__init__()
        self.change = change
        self.register_buffer("table", torch.randn(64, 8))

    def forward(self, input_ids, attention_mask):
        x = self.table[input_ids].view(1, -1, 2, 4).transpose(1, 2)
        place = torch.arange(input_ids.shape[1]) if self.change != "text" else attention_mask[0].cumsum(0)
        angles = place[None, :, None] * torch.tensor([1.0, 0.1, 1.0, 0.1])
        if self.change == "length":
            angles = angles / input_ids.shape[1]
        first, second = x[..., :2], x[..., 2:]
        turned = torch.cat((first, -second) if self.change == "order" else (-second, first), -1)
        return x * angles.cos().unsqueeze(1) + turned * angles.sin().unsqueeze(1)


@pytest.mark.parametrize(("change", "skipped"), [("", 0), ("text", 1), ("length", 1), ("order", 0)])
def test_other_turns_and_other_angles_are_left_alone(change, skipped):
    program = capture(Rotary(change), 16)
    result, report = FoldRotaryPositions().run(program)
    assert (report.changes, len(report.skipped)) == (int(change == ""), skipped)
    for length in (1, 2, 7, 16):
        inputs = torch.arange(4, 4 + length)[None], torch.ones(1, length, dtype=torch.long)
        assert torch.equal(result.module()(*inputs), program.module()(*inputs))
