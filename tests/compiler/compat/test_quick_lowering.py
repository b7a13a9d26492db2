"""quick_lowering: the same program, byte by byte, and everything as it was afterwards."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from executorch.backends.xnnpack import xnnpack_preprocess
from torch.fx.traceback import NodeSource

from spartanc.compiler import lower as lowering
from spartanc.compiler.compat.quick_lowering import TRIED_WITH, quick_lowering
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes, final_passes
from support.captured import captured, rows


def test_the_program_is_the_same(monkeypatch):
    passes = [*exact_passes(), *final_passes()]
    program, _ = run_passes(captured(), passes, rows()[:1])
    quick = lowering.lower(program)
    monkeypatch.setattr(lowering, "quick_lowering", nullcontext)
    plain = lowering.lower(program)
    assert quick.delegated_nodes > 10
    assert quick == plain


def test_what_it_changes_is_put_back_after_an_error_too():
    manager = xnnpack_preprocess.XNNPACKPassManager
    with pytest.raises(ZeroDivisionError), quick_lowering():
        assert xnnpack_preprocess.XNNPACKPassManager is not manager
        raise ZeroDivisionError
    assert xnnpack_preprocess.XNNPACKPassManager is manager
    assert not hasattr(NodeSource, "__deepcopy__")


def test_another_version_than_the_one_tried_is_left_as_it_is(monkeypatch):
    manager = xnnpack_preprocess.XNNPACKPassManager
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{TRIED_WITH}.post1")
    with quick_lowering():
        assert xnnpack_preprocess.XNNPACKPassManager is manager
        assert not hasattr(NodeSource, "__deepcopy__")
