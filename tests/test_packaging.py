"""The wheel holds all that was written, and compiles a model from another place."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from spartanc.models.checkpoint import save_model
from support.models import tiny_model

ROOT = Path(__file__).parents[1]
FOLDERS = ("spartanc", "compiler", "passes", "models", "runtime_py")


def test_no_module_stands_outside_a_package():
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if "board" not in path.parts and "native" not in path.parts:
                assert (path.parent / "__init__.py").is_file(), path


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built from a copy of the sources and unpacked into a directory of its own."""
    place = tmp_path_factory.mktemp("wheel")
    sources = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, sources):
        if name.startswith((*FOLDERS, "pyproject.toml", "README.md", "LICENSE")) and os.path.lexists(ROOT / name):
            (place / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / "source" / name, follow_symlinks=False)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", place, place / "source"]
    subprocess.run([*pip, *wheel], check=True)
    (built,) = place.glob("spartanc-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", place / "installed", built], check=True)
    return place / "installed"


def test_the_wheel_compiles_and_runs_a_model_from_another_place(installed, tmp_path):
    save_model(tiny_model("distilbert"), tmp_path / "model.pt")
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def spartanc(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "spartanc", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import spartanc.compiler.cli as cli; print(cli.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert found.startswith(str(installed))
    spartanc("compile", "model.pt", "--target", "host", "--out", "bundle", "--max-length", "16")
    assert '"label"' in spartanc("run", "bundle", "--text", "where is the card", "--json")


def test_the_lock_file_holds_every_dependency_with_its_hash():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    packages = dict(re.findall(r"^([a-z0-9.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}$", lock, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(packages[requirement.name].partition("+")[0]), text
