"""What an installation holds, whichever way it was made: from the folder, editable, as a wheel, from an sdist."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from spartanc.models.checkpoint import save_model
from support.models import tiny_model

ROOT = Path(__file__).parents[1]
FOLDERS = ("spartanc", "compiler", "passes", "models", "runtime_py")
PIP = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
BUILT_HERE = ["--no-deps", "--no-build-isolation"]


def test_no_module_stands_outside_a_package():
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if "board" not in path.parts and "native" not in path.parts:
                assert (path.parent / "__init__.py").is_file(), path


def git_files():
    """Every file and link of the sources, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    wanted = (*FOLDERS, "pyproject.toml", "README.md", "LICENSE")
    return [name for name in listed if name and name.startswith(wanted) and os.path.lexists(ROOT / name)]


def copy_sources(folder):
    for name in git_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources."""
    place = tmp_path_factory.mktemp("wheel")
    source = copy_sources(place / "source")
    subprocess.run([*PIP, "wheel", *BUILT_HERE, "-w", place, source], check=True)
    (built,) = place.glob("spartanc-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel):
    """The wheel, unpacked into a directory of its own."""
    folder = wheel.parent / "installed"
    subprocess.run([*PIP, "install", "--no-deps", "--target", folder, wheel], check=True)
    return folder


@pytest.fixture
def environment(tmp_path):
    """The python of a new virtual environment that sees the packages of this one, spartanc left out."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    here = {Path(path) for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    # A line of a .pth file adds a folder and not what its own .pth files add: an editable spartanc among them.
    (site / "packages.pth").write_text("".join(f"{path}\n" for path in here))
    return python


def without_python_path():
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}


def run(python, *words, cwd):
    done = subprocess.run(
        [str(python), *map(str, words)], cwd=cwd, env=without_python_path(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_compiles_and_runs_a_model_from_another_place(installed, tmp_path):
    save_model(tiny_model("distilbert"), tmp_path / "model.pt")
    variables = os.environ | {"PYTHONPATH": str(installed)}

    def spartanc(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "spartanc", *arguments],
            cwd=tmp_path, env=variables, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import spartanc.compiler.cli as cli; print(cli.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=variables, check=True, capture_output=True, text=True
    ).stdout
    assert found.startswith(str(installed))
    spartanc("compile", "model.pt", "--target", "host", "--out", "bundle", "--max-length", "16")
    assert '"label"' in spartanc("run", "bundle", "--text", "where is the card", "--json")


def test_the_wheel_holds_every_source_file(wheel):
    """Each committed file of a package's folder, under the package's name; no file twice and no link."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    for name in git_files():
        inside = name if name.startswith("spartanc/") else f"spartanc/{name}"
        is_package_file = name.split("/")[0] in FOLDERS and not (ROOT / name).is_dir()
        if is_package_file and name.endswith((".py", ".typed", ".cc", ".h", ".inl", ".txt", ".cmake", ".json")):
            assert inside in packed, name
    board = {f"spartanc/runtime_py/board/{name}" for name in ("run.py", "spartan.service")}
    assert {"spartanc/py.typed", *board} <= packed
    assert not any(name.startswith(("compiler/", "tests/", "passes/")) for name in packed)


def test_an_sdist_gives_the_same_wheel(wheel, tmp_path):
    source = copy_sources(tmp_path / "source")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path / 'sdist')!r})"
    (tmp_path / "sdist").mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (packed,) = (tmp_path / "sdist").glob("spartanc-*.tar.gz")
    with tarfile.open(packed) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    subprocess.run([*PIP, "wheel", *BUILT_HERE, "-w", tmp_path, unpacked], check=True)
    (built,) = tmp_path.glob("spartanc-*.whl")
    first, second = zipfile.ZipFile(wheel), zipfile.ZipFile(built)
    assert sorted(first.namelist()) == sorted(second.namelist())
    for name in first.namelist():
        if not name.endswith("/RECORD"):
            assert first.read(name) == second.read(name), name


WHERE = "import spartanc, spartanc.compiler.cli as cli; print(spartanc.__version__, cli.__file__)"


def test_a_plain_install_gives_the_command_and_the_package(environment, tmp_path):
    source = copy_sources(tmp_path / "source")
    subprocess.run([*PIP, "--python", environment, "install", *BUILT_HERE, source], check=True)
    version, file = run(environment, "-c", WHERE, cwd=tmp_path).split()
    assert file.startswith(str(environment.parents[1]))
    command = environment.with_name("spartanc")
    assert run(command, "--version", cwd=tmp_path).strip().endswith(version)
    assert '"host"' in run(command, "targets", "--json", cwd=tmp_path)


def test_an_editable_install_sees_an_edit_and_coverage_names_real_files(environment, tmp_path):
    source = copy_sources(tmp_path / "source")
    subprocess.run([*PIP, "--python", environment, "install", *BUILT_HERE, "-e", source], check=True)
    command = environment.with_name("spartanc")
    _version, file = run(environment, "-c", WHERE, cwd=tmp_path).split()
    assert Path(file).resolve() == source / "compiler" / "cli.py"
    present = source / "compiler" / "present.py"
    present.write_text(present.read_text() + '\n\ndef target_rows():\n    return ["edited"]\n')
    assert "edited" in run(command, "targets", "--json", cwd=tmp_path)

    run(environment, "-m", "coverage", "run", "-m", "spartanc", "targets", "--json", cwd=source)
    found = run(environment, "-m", "coverage", "json", "-o", "-", cwd=source)
    files = {name: entry["summary"]["covered_lines"] for name, entry in json.loads(found)["files"].items()}
    assert files["compiler/cli.py"] > 20
    assert files["spartanc/errors.py"] > 5
    assert {"passes/fuse_memories.py", "models/memory.py", "runtime_py/session.py"} <= set(files)
    assert all((source / name).is_file() for name in files)


def test_the_lock_file_holds_every_dependency_with_its_hash():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    packages = dict(re.findall(r"^([a-z0-9.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}$", lock, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(packages[requirement.name].partition("+")[0]), text


def test_one_version_is_stated_everywhere():
    import spartanc

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == spartanc.__version__
