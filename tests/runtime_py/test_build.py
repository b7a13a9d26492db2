"""The build driver: what is missing is named, and nothing is built twice."""

import subprocess
import sys

import pytest

from spartanc.base.cache import cache_directory
from spartanc.base.toolchain import AARCH64
from spartanc.errors import MissingToolError
from spartanc.runtime_py import build, setup_target
from spartanc.runtime_py.build import COMMAND, LIBRARY, OPERATORS, build_runtime
from spartanc.runtime_py.setup_target import is_ready


def test_a_built_runtime_is_found_again(monkeypatch, capsys):
    first = build_runtime("host")
    assert {COMMAND, LIBRARY, OPERATORS} <= {file.name for file in first.iterdir()}
    capsys.readouterr()
    monkeypatch.setattr(build, "_build", lambda *_: pytest.fail("built again"))
    assert build_runtime("host") == first
    assert capsys.readouterr().err == ""


def test_a_changed_flag_is_another_build():
    recipe = build._recipe(build.find_target("host"))
    changed = build._Recipe(recipe.compiler, recipe.package, (*recipe.options, "-DX=1"))
    assert build._key(recipe) == build._key(recipe)
    assert build._key(recipe) != build._key(changed)


def test_a_missing_compiler_names_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(MissingToolError) as error:
        build_runtime("host")
    assert "apt-get install g++" in error.value.hint


def test_without_setup_a_board_is_exit_5_and_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path))
    assert not is_ready("rpi4")
    with pytest.raises(MissingToolError) as error:
        build_runtime("rpi4")
    assert error.value.exit_code == 5
    assert "spartanc setup rpi4" in error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_missing_cross_compiler_names_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path))
    library = setup_target.executorch_package(AARCH64) / "lib" / "libexecutorch.so"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError) as error:
        build_runtime("rpi4")
    assert "g++-aarch64-linux-gnu" in error.value.hint


def test_a_download_that_fails_is_exit_5_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path))
    for variable, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path))):
        monkeypatch.setenv(variable, value)
    with pytest.raises(MissingToolError, match="pip could not bring"):
        setup_target.setup_target("rpi4")
    assert not setup_target.executorch_package(AARCH64).exists()
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_wheel_with_another_digest_is_not_used(monkeypatch, tmp_path):
    wheel = tmp_path / "wheels" / "executorch-1.5.1-cp311-cp311-manylinux_2_28_aarch64.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"PK\5\6" + b"\0" * 18)
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    with pytest.raises(MissingToolError):
        setup_target.setup_target("rpi4")
    assert not setup_target.executorch_package(AARCH64).exists()


def test_android_has_no_native_runtime():
    with pytest.raises(MissingToolError, match="android-arm64"):
        build_runtime("android-arm64")


def test_an_unwritable_cache_is_one_clear_error(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(MissingToolError) as error:
        build_runtime("host")
    assert "SPARTANC_CACHE" in error.value.hint


def test_the_cache_is_where_its_variables_say(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("SPARTANC_CACHE", raising=False)
    assert cache_directory() == tmp_path / "xdg" / "spartanc"
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path / "own"))
    assert cache_directory() == tmp_path / "own"


def test_finding_executorch_does_not_import_it():
    code = (
        "import sys; from spartanc.runtime_py.build import build_runtime; build_runtime('host');"
        "assert not {name for name in sys.modules if name.split('.')[0] in ('torch', 'executorch')}"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
