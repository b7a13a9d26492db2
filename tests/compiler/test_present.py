"""What a person sees of a result."""

import pytest

from spartanc.base.progress import stage
from spartanc.compiler.present import by_folder, print_compile, print_predictions, print_verification


def test_a_folder_is_one_line_with_the_sum_of_its_files():
    files = {"model.pte": 5, "runtime/spartan": 2, "runtime/lib/a.so": 4, "manifest.json": 1}
    assert by_folder(files) == {"model.pte": 5, "runtime/ (2 files)": 6, "manifest.json": 1}


def test_answers_of_every_kind_are_shown(capsys):
    print_predictions([{"text": "a", "label": "x", "scores": {"x": 0.75, "y": 0.25}}])
    print_predictions([{"text": "b", "label": None, "score": 74_000.5}])
    print_predictions([{"text": "c", "label": None, "labels": ["x", "y"], "scores": {"x": 0.875, "y": 0.5, "z": 0.1}}])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for shown in (["x", "0.750", "a"], ["74000.500", "b"], ["x,", "y", "0.875", "c"]):
        assert shown in rows


BRACKETS = ("[/x]", "[other]", "[red]a", "[/]")  # closing, unknown, known and any: rich's markup


HALF = {"label_agreement": 0.5, "texts": 2, "interval": [0.0, 1.0]}
PARITY = {"max_abs_diff": 1.0, "samples": 2, "evidence": "thin", **HALF}


@pytest.mark.parametrize("name", BRACKETS)
def test_names_in_brackets_are_text(capsys, name):
    """A class, a device or a file may be called so."""
    with stage(f"load {name}"):
        pass
    assert f"load {name}" in capsys.readouterr().err
    layer = {"snr_db": 20.0, "parents_flipped": 1, "parents_chosen": 2}
    walked = {"stage": f"all on {name}", "accuracy": None, "accuracy_cost": None, "layers": [layer], "passed": False}
    row = {"row": 1, "text": name, "labels": [name, name], "labels_agree": True, "max_abs_diff": 1.0}
    print_verification(
        PARITY
        | {"bundle": name, "device": name, "emulated": False, "hint": name, "passed": False, "worst": [row]}
        | {"classes": {name: HALF}, "stages": [PARITY | walked], "first_moved": f"all on {name}"}
    )
    shown = capsys.readouterr().out
    assert shown.count(name) == 9, shown


@pytest.mark.parametrize("name", BRACKETS)
def test_a_compile_shows_the_names_of_its_classes(capsys, name):
    print_compile(
        {"bundle": name, "target": "host", "seconds": 1.0, "files": {"model.pte": 5}, "skipped": [], "passes": []}
        | {"fused_memories": 1, "delegated_nodes": 1, "delegates": 1, "fallback_ops": {name: 1}, "truncated": 0}
        | {"linears": {"kernels": "ours", "reason": name}, "kept_fp32": [], "kept_int8": []}
        | {"parity": PARITY | {"classes": {name: HALF}}}
    )
    assert capsys.readouterr().out.count(name) == 4
