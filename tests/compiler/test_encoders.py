"""Every newer encoder from transformers' directory to a bundle that gives eager's labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.compiler.verify import VerifyRequest, verify_bundle
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from support.encoders import of_all_lengths, save_encoder, sentiment, write_examples
from support.fleets import save_tasks, tiny_tasks

Rows = Callable[[int, int], Iterable[dict]]  # (count, seed)
LONGEST = 40
FORMS = {
    "int8": {"quantize": "int8"},
    "int8 for a board": {"quantize": "int8", "target": "rpi4"},
    "portable": {"quantize": "none", "lowering": "portable"},
    "torchscript": {"quantize": "none", "format": "torchscript"},
}


def trained(folder: Path, architecture: str, rows: Rows, seed: int = 0, epochs: int = 1) -> tuple[Path, Path, float]:
    """(model.pt, 200 texts, accuracy on them)."""
    encoder = folder / "encoder"
    if not encoder.exists():
        save_encoder(encoder, architecture, masked=True, shard="20KB")
    data = write_examples(folder / "train.jsonl", rows(400, 1))
    texts = write_examples(folder / "dev.jsonl", rows(200, 2))
    model = folder / f"task{seed}.pt"
    settings = TrainSettings(epochs=epochs, seed=seed)
    spartan = SpartanConfig(parents=8, cells=24, top_k=4)
    request = TrainRequest(encoder, data, texts, model, settings, adapt=False, spartan=spartan)
    return model, texts, train(request).best["accuracy"]


def of_every_length(count: int, seed: int):
    return of_all_lengths(count, LONGEST - 2, seed)


def compiled(out: Path, *models: Path, texts: Path | None, **options):
    request = {"target": "host", "max_length": LONGEST, "data": texts, "runtime": False} | options
    return compile_model(CompileRequest(models=models, out=out, **request))


@pytest.mark.parametrize(
    ("architecture", "attention", "most_outside"),
    [
        ("albert", "attention", 20),
        ("deberta-v2", "attention.relative", 20),
        ("mobilebert", "attention", 25),
        ("modernbert", "attention", 60),
        ("nomic_bert", "attention", 30),
        ("xlm-roberta", "attention", 20),
    ],
)
def test_fp32_gives_the_labels_of_eager_at_every_length(architecture, attention, most_outside, tmp_path):
    model, texts, _ = trained(tmp_path, architecture, of_every_length)
    result = compiled(tmp_path / "bundle", model, texts=texts, quantize="none")
    assert result.fused_memories == 2
    assert result.parity["samples"] >= 200
    assert result.parity["label_agreement"] == 1.0
    assert result.parity["max_abs_diff"] <= 1e-4
    # What is left outside our kernels and XNNPACK belongs to ids, mask, pooling, tables of rotations and windows.
    outside = {name: count for name, count in result.fallback_ops.items() if not name.startswith("spartan::")}
    assert sum(outside.values()) < most_outside
    fused = {
        name.removeprefix("spartan::"): count for name, count in result.fallback_ops.items() if "attention" in name
    }
    assert fused == ({"attention": 1, "window_attention": 1} if architecture == "modernbert" else {attention: 2})


@pytest.mark.parametrize("architecture", ["deberta-v2", "mobilebert", "modernbert", "nomic_bert"])
def test_tables_that_passes_make_are_shared_by_the_tasks_of_a_fleet(architecture, tmp_path):
    tasks = save_tasks(tiny_tasks(architecture), tmp_path)
    result = compiled(tmp_path / "fleet", *tasks.values(), texts=None, quantize="none", shared_backbone=True)
    assert result.parity["label_agreement"] == 1.0
    assert result.parity["max_abs_diff"] <= 1e-4


@pytest.mark.long
@pytest.mark.parametrize(
    "architecture",
    ["albert", "camembert", "deberta-v2", "ernie", "mobilebert", "modernbert", "nomic_bert", "xlm-roberta"],
)
def test_every_form_of_a_task_that_was_learnt(architecture, tmp_path):
    model, texts, accuracy = trained(tmp_path, architecture, sentiment, epochs=16)
    assert accuracy >= 0.95
    for form, options in {"fp32": {"quantize": "none"}, **FORMS}.items():
        out = tmp_path / form.replace(" ", "-")
        result = compiled(out, model, texts=texts, **options)
        exact = options["quantize"] == "none"
        assert result.parity["label_agreement"] >= (1.0 if exact else 0.99), form
        assert not exact or result.parity["max_abs_diff"] <= 1e-4, form
        if options.get("target", "host") == "host" and form != "torchscript":
            verified = verify_bundle(VerifyRequest(bundle=out, model=model, data=texts))
            assert verified.passed, form
    other, _, _ = trained(tmp_path, architecture, sentiment, seed=1, epochs=16)
    for quantize in ("none", "int8"):
        fleet = tmp_path / f"fleet-{quantize}"
        compiled(fleet, model, other, texts=None, quantize=quantize, shared_backbone=True)
        for each in (model, other):
            verified = verify_bundle(VerifyRequest(bundle=fleet, model=each, data=texts, task=each.stem))
            assert verified.passed, quantize
