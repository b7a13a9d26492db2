"""relax_attention: attention of rounded programs names the operator that may be computed in half precision."""

from __future__ import annotations

import pytest

from spartanc.base.schemes.catalogue import SCHEMES
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes, final_passes
from spartanc.passes.relax_attention import RelaxAttention
from spartanc.passes.schemes.catalogue import passes_of
from support.captured import assert_same_results, captured, rows


def attentions(program) -> list[str]:
    targets = [str(node.target) for node in program.graph.nodes]
    return [
        target.removeprefix("spartan.") for target in targets if "attention" in target and target.startswith("spartan")
    ]


def relaxed(architecture: str):
    before, _ = run_passes(captured(architecture), exact_passes(), rows())
    after, (report,) = run_passes(before, [RelaxAttention()], rows())
    return before, after, report


def test_every_attention_becomes_the_other_and_computes_the_same():
    before, after, report = relaxed("bert")
    assert attentions(before) == ["attention.default"] * 2
    assert attentions(after) == ["attention_half.default"] * 2
    assert report.changes == 2
    assert not report.skipped
    assert_same_results(before, after, 0.0)


def test_attention_in_windows_does_too():
    before, after, report = relaxed("modernbert")
    assert attentions(before) == ["attention.default", "window_attention.default"]
    assert attentions(after) == ["attention_half.default", "window_attention_half.default"]
    assert report.changes == 2
    assert_same_results(before, after, 0.0)


def test_attention_with_distances_stays_and_is_told():
    _, after, report = relaxed("deberta-v2")
    assert attentions(after) == ["attention.relative"] * 2
    assert report.changes == 0
    assert {each.reason for each in report.skipped} == {"it has tables of distances"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rounded_programs_have_it_and_exact_or_stock_ones_do_not(scheme):
    passes = passes_of(SCHEMES[scheme])
    rounded = "relax_attention" in [each.name for each in final_passes(passes)]
    assert rounded == (not SCHEMES[scheme].is_exact)
    assert "relax_attention" not in [each.name for each in final_passes(passes, stock=True)]
