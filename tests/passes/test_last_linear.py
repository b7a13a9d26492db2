"""Which linear gives the logits."""

import torch
from torch import nn

from spartanc.compiler.capture import capture, dynamic_shapes, example_inputs
from spartanc.compiler.quantize import quantize_backbone
from spartanc.passes.last_linear import gives_the_logits
from support.models import tiny_model

_LINEAR = torch.ops.aten.linear.default


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.middle = nn.Embedding(8, 16), nn.Linear(16, 16)
        self.left, self.right = nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, input_ids, attention_mask):
        x = self.middle(self.table(input_ids)).relu()[:, 0] + attention_mask.sum()
        return self.left(x) * self.right(x)


def _last(program):
    linears = [node for node in program.graph.nodes if node.target is _LINEAR]
    return [gives_the_logits(node) for node in linears]


def test_only_linears_that_no_other_linear_follows_give_logits():
    program = torch.export.export(TwoHeads(), example_inputs(4), dynamic_shapes=dynamic_shapes(8))
    assert _last(program.run_decompositions({})) == [False, True, True]


def test_a_classifier_has_one_and_it_stays_in_fp32():
    program = capture(tiny_model("roberta").module, 16)
    assert _last(program).count(True) == 1
    quantized = quantize_backbone(program, 16)
    assert len(_last(program)) > 8
    kept = [node for node in quantized.graph.nodes if node.target is _LINEAR and _reads_a_parameter(node)]
    assert [gives_the_logits(node) for node in kept] == [True]


def _reads_a_parameter(node):
    """Whether the weight is stored as it was; a quantised one comes out of a dequantisation."""
    return node.args[1].op == "placeholder"
