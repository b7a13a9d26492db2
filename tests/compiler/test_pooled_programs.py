"""Every pooling in every lowering gives what eager gives, with and without padding; fleets take one pooling."""

import numpy as np
import pytest
import torch

from spartanc.compiler.capture import capture
from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.compiler.proof import eager_logits
from spartanc.compiler.samples import Row
from spartanc.errors import UsageError
from spartanc.models.checkpoint import save_model
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.stock import StockDevice
from spartanc.runtime_py.session import pad
from spartanc.runtime_py.task_file import open_task
from support.fleets import on_backbone_of
from support.models import UNLIKE_EACH_OTHER, tiny_model

MAX_LENGTH = 24
FORMS = {
    "fused": {"quantize": "none"},
    "portable": {"quantize": "none", "lowering": "portable"},
    "torchscript": {"quantize": "none", "format": "torchscript"},
    "int8": {"quantize": "int8"},
}


def rows() -> list[Row]:
    """Rows of several lengths, each once whole and once with padding behind it."""
    generator = np.random.default_rng(0)
    made = []
    for length in (1, 2, 3, 7, 16, MAX_LENGTH):
        ids = generator.integers(4, 40, (1, length))
        made.append((ids, np.ones_like(ids)))
        if length < MAX_LENGTH:
            padded = np.concatenate([ids, np.zeros((1, MAX_LENGTH - length), np.int64)], 1)
            made.append((padded, (np.arange(MAX_LENGTH) < length).astype(np.int64)[None]))
    return made


def compiled(folder, models, **options):
    paths = []
    for number, model in enumerate(models):
        paths.append(folder / f"task{number}.pt")
        save_model(model, paths[-1])
    request = CompileRequest(
        models=tuple(paths), target="host", out=folder / "bundle", max_length=MAX_LENGTH, runtime=False, **options
    )
    compile_model(request)
    return open_bundle(folder / "bundle")


def require_close(got, expected, tolerance):
    got, expected = np.stack(got), np.stack(expected)
    assert np.ptp(expected, axis=0).max() > 10 * tolerance  # else every program would pass
    assert np.abs(got - expected).max() < tolerance


def answers(bundle, pooled_rows, task=None):
    if bundle.manifest["lowering"] != "portable":
        return LocalDevice().run(bundle.path, bundle.program, pooled_rows, task=task, keep_padding=True)
    inputs = open_task(bundle.path / "tasks" / f"{task}.safetensors").tensors if task else None
    return StockDevice().run(bundle.path, bundle.program, pooled_rows, inputs=inputs, keep_padding=True)


@pytest.mark.parametrize(
    ("pooling", "form"), [*(("mean", form) for form in FORMS), ("task_pooler", "int8"), ("cls", "fused")]
)
def test_a_program_pools_as_eager_does(pooling, form, tmp_path):
    model = tiny_model("bert", pooling=pooling)
    bundle = compiled(tmp_path, [model], **FORMS[form])
    expected = eager_logits(model.module, rows())
    spread = float(np.ptp(np.stack(expected), axis=0).max())
    require_close(answers(bundle, rows()), expected, 0.09 * spread if form == "int8" else 1e-4)


@pytest.mark.parametrize(
    ("pooling", "lowering", "quantize"),
    [("mean", "fused", "none"), ("mean", "portable", "int8"), ("task_pooler", "fused", "int8")],
)
def test_tasks_of_a_fleet_pool_as_eager_does(pooling, lowering, quantize, tmp_path):
    first = tiny_model("bert", pooling=pooling)
    second = on_backbone_of(first, tiny_model("bert", pooling=pooling, labels=("x", "y"), seed=5))
    options = {"quantize": quantize, "lowering": lowering, "shared_backbone": True}
    bundle = compiled(tmp_path, [first, second], **options)
    for number, model in enumerate((first, second)):
        expected = eager_logits(model.module, rows())
        spread = float(np.ptp(np.stack(expected), axis=0).max())
        got = answers(bundle, rows(), task=f"task{number}")
        require_close(got, expected, 1e-4 if quantize == "none" else 0.09 * spread)


def test_tasks_that_pool_differently_are_told(tmp_path):
    first = tiny_model("roberta", pooling="mean")
    second = on_backbone_of(first, tiny_model("roberta", pooling="cls", seed=5))
    with pytest.raises(UsageError, match="pool"):
        compiled(tmp_path, [first, second], shared_backbone=True, quantize="none")
    first = tiny_model("bert", pooling="mean")
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="pool"):
        compiled(tmp_path / "other", [first, tiny_model("bert")], shared_backbone=True, quantize="none")


@pytest.mark.parametrize("stock", [False, True])
@pytest.mark.parametrize("architecture", UNLIKE_EACH_OTHER)
def test_the_exact_passes_keep_every_token_that_a_mean_needs(architecture, stock):
    module = tiny_model(architecture, pooling="mean").module
    checked = [pad(*row, module.min_length()) for row in rows()]
    captured = capture(module, MAX_LENGTH, module.min_length())
    program, reports = run_passes(captured, exact_passes(stock=stock), checked)
    dropped = next(report for report in reports if report.name == "drop_dead_tokens")
    assert dropped.changes == 0
    run = program.module()
    with torch.no_grad():
        got = [run(torch.from_numpy(ids), torch.from_numpy(mask))[0].numpy() for ids, mask in checked]
    require_close(got, eager_logits(module, rows()), 1e-5)


def test_the_first_position_alone_is_computed_where_nothing_else_is_read():
    module = tiny_model("bert", pooling="cls").module
    _, reports = run_passes(capture(module, MAX_LENGTH), exact_passes(), rows())
    assert next(report for report in reports if report.name == "drop_dead_tokens").changes > 0
