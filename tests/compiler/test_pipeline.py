"""A pipeline is a value: what it has can be listed, taken out and replaced, and a gap in its order is found first."""

import numpy as np
import pytest
import torch
from torch import nn

from spartanc.base.schemes.catalogue import SCHEMES
from spartanc.base.schemes.int8 import INT8
from spartanc.base.schemes.none import NONE
from spartanc.base.targets.catalogue import find_target
from spartanc.compiler.backends.catalogue import BACKENDS, backend_of, choose_backend
from spartanc.compiler.backends.portable import PORTABLE
from spartanc.compiler.backends.spartan_kernels import SPARTAN_KERNELS
from spartanc.compiler.backends.torchscript import TORCHSCRIPT
from spartanc.compiler.backends.xnnpack import XNNPACK
from spartanc.compiler.pipeline import Artifact, Pipeline, build_pipeline
from spartanc.compiler.stage import Stage
from spartanc.compiler.steps import LIFT
from spartanc.errors import CompileError, UsageError
from spartanc.passes.memory_site import FormChoice
from spartanc.passes.pack_memories import PackMemories
from support.models import tiny_model

EXACT = (
    "fuse_memories",
    "drop_noop_ops",
    "fold_constants",
    "fuse_relative_attention",
    "fold_distances",
    "split_linears",
    "fold_rotary_positions",
    "drop_batch_dimension",
    "fold_attention_scale",
    "simplify_attention_mask",
    "fold_position_embeddings",
    "expand_powers",
    "fold_affine",
    "drop_dead_tokens",
    "fuse_attention",
    "remove_zero_heads",
    "remove_zero_units",
)
OURS = ("fuse_relative_attention", "fuse_attention", "remove_zero_heads")
OF_STOCK_OPERATORS = tuple(name for name in EXACT if name not in OURS)


def test_names_are_the_stages_and_the_passes_in_their_order():
    assert build_pipeline(XNNPACK, NONE, 24).names() == (
        *("capture", *EXACT, "costs", "lift"),
        *("pack_memories", "fuse_layer_norms", "lower"),
    )
    assert build_pipeline(XNNPACK, INT8, 24).names() == (
        *("capture", *EXACT, "costs", "lift", "fit linears", "quantise linears to int8"),
        *("quantize_memories", "fuse_layer_norms", "relax_attention", "quantize_embeddings", "lower"),
    )
    assert build_pipeline(SPARTAN_KERNELS, INT8, 24).names()[-3:] == (
        "quantize_embeddings",
        "quantize_linears",
        "lower",
    )
    assert build_pipeline(PORTABLE, INT8, 24).names() == (
        *("capture", *OF_STOCK_OPERATORS, "costs", "lift", "fit linears", "quantise linears to int8"),
        *("lower_memory_portable", "quantize_embeddings", "lower"),
    )
    assert build_pipeline(TORCHSCRIPT, NONE, 24).names() == ("lift", "trace")


def test_a_shared_program_has_the_same_stages_and_lifts_its_task():
    names = build_pipeline(XNNPACK, INT8, 24, task_of=tiny_model()).names()
    assert names == (
        *("capture", *EXACT, "quantize_memories", "fuse_layer_norms", "quantize_head"),
        *("lift", "capture with task tensors as inputs", "fit linears", "quantise linears to int8"),
        *("relax_attention", "quantize_embeddings", "lower"),
    )


def test_parts_are_taken_out_and_replaced_and_the_pipeline_stays_as_it_was():
    whole = build_pipeline(XNNPACK, INT8, 24)
    before = whole.names()
    left = whole.without("fuse_attention", "quantise linears to int8", "costs").names()
    assert left == tuple(name for name in before if name not in ("fuse_attention", "quantise linears to int8", "costs"))
    assert whole.without("exact passes").names() == tuple(name for name in before if name not in EXACT)
    mine = PackMemories(FormChoice(1.0))
    replaced = whole.replaced("quantize_memories", mine)
    assert mine in replaced.passes()
    assert replaced.names() == tuple("pack_memories" if name == "quantize_memories" else name for name in before)
    assert whole.names() == before
    assert (*whole.up_to(LIFT).names(), *whole.after(LIFT).names()) == before


def test_what_is_not_there_is_named_with_what_is():
    whole = build_pipeline(XNNPACK, NONE, 24)
    for change in (
        lambda: whole.without("fuse_attentoin"),
        lambda: whole.replaced("quantize_memories", PackMemories()),
        lambda: whole.up_to("fuse_attention"),
    ):
        with pytest.raises(UsageError) as caught:
            change()
        assert "capture" in caught.value.hint
    with pytest.raises(UsageError, match="is a stage"):
        whole.replaced("lower", PackMemories())
    with pytest.raises(UsageError, match="is a pass"):
        whole.replaced("pack_memories", whole.stages[0])


def test_an_order_with_a_gap_is_refused_before_any_stage_ran():
    class Never(Stage):
        name = "capture"

        def run(self, artifact):
            raise AssertionError("it ran")

    gap = build_pipeline(XNNPACK, NONE, 24).replaced("capture", Never()).without("fuse_memories")
    with pytest.raises(CompileError, match=r"`drop_dead_tokens` needs `memories_fused`"):
        gap.run(Artifact(nn.Identity()))


def test_a_pipeline_without_a_pass_computes_the_same():
    model = tiny_model()
    ids = np.array([[5, 9, 7, 11]], np.int64)
    rows = [(ids, np.ones_like(ids))]
    whole = build_pipeline(XNNPACK, NONE, 16).up_to("exact passes")
    programs = [part.run(Artifact(model.module, rows)).program for part in (whole, whole.without("fuse_attention"))]
    found = [sum(node.target is torch.ops.spartan.attention.default for node in each.graph.nodes) for each in programs]
    assert found == [2, 0]
    with torch.no_grad():
        expected = model.module(*map(torch.from_numpy, rows[0]))
        for each in programs:
            torch.testing.assert_close(each.module()(*map(torch.from_numpy, rows[0])), expected, atol=1e-5, rtol=1e-5)


def test_every_backend_is_found_again_by_what_its_manifest_says():
    for backend in BACKENDS:
        manifest = {
            "lowering": backend.lowering,
            "linears": {"kernels": backend.kernels},
            "program_format": backend.format,
        }
        assert backend_of(manifest) is backend
    assert backend_of({"lowering": "fused"}) is XNNPACK  # a bundle from before manifests said it
    with pytest.raises(UsageError, match="vulkan"):
        backend_of({"lowering": "vulkan"})


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("torchscript", [False, True])
@pytest.mark.parametrize("lowering", [None, "fused", "portable"])
def test_combinations_are_a_backend_or_an_error_that_says_what_goes(scheme, lowering, torchscript):
    wrong = (torchscript and (scheme is not NONE or lowering == "fused")) or (
        lowering == "portable" and not scheme.stock_forms
    )
    if not wrong:
        backend = choose_backend(find_target("rpi4"), scheme, lowering, torchscript).backend
        assert backend.format == ("torchscript" if torchscript else "executorch")
        assert backend.lowering == ("portable" if torchscript else lowering or "fused")
        return
    with pytest.raises(UsageError, match="does not go with") as caught:
        choose_backend(find_target("rpi4"), scheme, lowering, torchscript)
    assert "--" in caught.value.hint


def test_an_empty_pipeline_changes_nothing():
    artifact = Artifact(nn.Identity())
    assert Pipeline(()).run(artifact) is artifact
