"""Faster training: the same function to rounding, gradients for the same parameters, and nothing left behind."""

import pytest
import torch

from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.baselines import BaselineClassifier
from spartanc.models.faster import faster
from spartanc.models.memory import SpartanConfig
from spartanc.models.objective import TrainingModule, parameter_groups
from spartanc.models.settings import TrainSettings
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from support.encoders import write_encoder

IDS = torch.tensor([[2, 9, 8, 7, 3], [2, 12, 3, 0, 0]])
MASK = (IDS != 0).long()


@pytest.fixture(params=["spartan", "spartan with a norm", "houlsby", "lora", "head"])
def module(request, tmp_path):
    torch.manual_seed(0)
    layer_norm = "post" if "norm" in request.param else "none"
    spartan = SpartanConfig(4, 8, 2, layer_norm=layer_norm) if "spartan" in request.param else None
    classifier = build_classifier(load_backbone(write_encoder(tmp_path / "encoder")), spartan, 2, pairs=False)
    if spartan is None:
        classifier = BaselineClassifier(classifier, request.param)
    wrapped = TrainingModule(classifier, CLASSIFICATION, 0.01, dropout=False).train()
    parameter_groups(wrapped, TrainSettings())
    return wrapped


def gradients(module):
    module.zero_grad()
    out = module(IDS, MASK, torch.tensor([0, 1]))
    out["loss"].backward()
    return out["logits"].detach(), {name: value.grad for name, value in module.named_parameters()}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_logits_and_gradients_are_those_of_plain_fp32(module, precision, tolerance):
    logits, plain = gradients(module)
    with faster(module.classifier, precision):
        quick_logits, quick = gradients(module)
    again, _ = gradients(module)
    assert torch.equal(again, logits)
    assert module.classifier.network.config._attn_implementation == "eager"
    assert (quick_logits - logits).abs().max() <= tolerance * logits.abs().max()
    if precision == "bf16":
        assert not torch.equal(quick_logits, logits)
    trained = [name for name, value in plain.items() if value is not None]
    assert trained == [name for name, value in quick.items() if value is not None]
    whole = torch.cat([plain[name].flatten() for name in trained])
    difference = torch.cat([(quick[name] - plain[name]).flatten() for name in trained])
    assert whole.norm() > 0
    assert difference.norm() <= tolerance * whole.norm()
