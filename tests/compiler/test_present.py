"""What a person sees of a result."""

from spartanc.compiler.present import by_folder


def test_a_folder_is_one_line_with_the_sum_of_its_files():
    files = {"model.pte": 5, "runtime/spartan": 2, "runtime/lib/a.so": 4, "manifest.json": 1}
    assert by_folder(files) == {"model.pte": 5, "runtime/ (2 files)": 6, "manifest.json": 1}
