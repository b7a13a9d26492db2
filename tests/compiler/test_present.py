"""What a person sees of a result."""

from spartanc.compiler.present import by_folder, print_predictions


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
