"""Functions by their place in a file, whatever address the file asks for."""

import shutil
import subprocess

import pytest

from spartanc.runtime_py.board_model.symbols import function_at
from spartanc.runtime_py.board_model.tools import SYMBOLS


@pytest.mark.skipif(shutil.which(SYMBOLS) is None, reason="llvm-19 is missing")
@pytest.mark.parametrize("more", [[], ["-Wl,-z,separate-code"], ["-Wl,-Ttext-segment=0x70000"]])
def test_a_function_is_found_by_its_offset_in_the_file(tmp_path, more):
    compiler = shutil.which("aarch64-linux-gnu-gcc") or pytest.skip("no C cross compiler")
    (tmp_path / "a.c").write_text("int one(int x) { return x * 77 + 5; }\nint two(int x) { return x / 3; }\n")
    library = tmp_path / "liba.so"
    subprocess.run([compiler, "-O1", "-shared", *more, "-o", library, tmp_path / "a.c"], check=True)
    # Where the bytes of `mov w1, #77` stand, which `one` alone has.
    place = library.read_bytes().index(bytes.fromhex("a10980 52".replace(" ", "")))
    assert function_at(str(library), place) == "one"
    assert function_at(str(library), 8) == "liba.so, no symbol"


def test_what_is_no_file_has_no_symbol():
    assert function_at("?", 4096) == "?, no symbol"
