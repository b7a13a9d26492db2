"""The floor plan: compiler → models → {passes, runtime_py} → base. Nothing imports upwards, nothing in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spartanc"
# A module may import from its own floor and from those that its floor is listed with.
BELOW = {
    "base": set(),
    "runtime_py": {"base"},
    "passes": {"base"},
    "models": {"base", "passes", "runtime_py"},
    "compiler": {"base", "models", "passes", "runtime_py"},
    "api": {"base", "models", "passes", "runtime_py", "compiler"},
}
# `errors` belongs to the base; the front door and the command's entry look at everything.
TOP = {"spartanc": "api", "spartanc.__main__": "api", "spartanc.errors": "base"}


def modules(package: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name, links followed."""
    found = {}
    for folder, link in [(package, package), *((path, path.resolve()) for path in package.iterdir() if path.is_dir())]:
        for file in link.glob("*.py") if folder == package else link.rglob("*.py"):
            relative = file.relative_to(link).with_suffix("")
            if "native" in relative.parts:
                continue
            prefix = ("spartanc",) if folder == package else ("spartanc", folder.name)
            parts = [*prefix, *relative.parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(name: str, source: Path, known: set[str]) -> set[str]:
    """The modules that `source` names: at the top, inside functions, under TYPE_CHECKING, by importlib, relative."""
    package = name if source.name == "__init__.py" else name.rpartition(".")[0]
    named = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            named |= {each if each in known else base for each in inner}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            named |= {word.value for word in node.args if isinstance(word, ast.Constant)}
    return {each for each in named if isinstance(each, str) and each in known and each != name}


def floor(name: str) -> str:
    return TOP.get(name) or name.split(".")[1]


def graph(package: Path) -> dict[str, set[str]]:
    found = modules(package)
    return {name: imports(name, source, set(found)) for name, source in found.items()}


def upward(arrows: dict[str, set[str]]) -> list[str]:
    return [
        f"{name} → {other}"
        for name, others in arrows.items()
        for other in sorted(others)
        if floor(other) not in BELOW[floor(name)] | {floor(name)} and other != "spartanc"
    ]


def test_no_module_imports_from_a_floor_above():
    arrows = graph(PACKAGE)
    assert len(arrows) > 100
    assert upward(arrows) == []


def test_no_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter(graph(PACKAGE)).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize(
    "line",
    [
        "from spartanc.compiler.pipeline import compile_model",
        "def late():\n    import spartanc.compiler.pipeline",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from spartanc.compiler import pipeline",
        "import importlib\nimportlib.import_module('spartanc.compiler.pipeline')",
        "from ..compiler import pipeline",
    ],
)
def test_a_planted_arrow_upwards_is_found(tmp_path, line):
    for folder, text in (("compiler", ""), ("passes", line)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
        (tmp_path / folder / "pipeline.py").write_text(text)
    (tmp_path / "__init__.py").write_text("")
    assert upward(graph(tmp_path)) == ["spartanc.passes.pipeline → spartanc.compiler.pipeline"]


def test_a_planted_circle_is_found(tmp_path):
    (tmp_path / "base").mkdir()
    for name, text in (("__init__", ""), ("a", "from spartanc.base import b"), ("b", "import spartanc.base.a")):
        (tmp_path / "base" / f"{name}.py").write_text(text)
    (tmp_path / "__init__.py").write_text("")
    with pytest.raises(CycleError):
        TopologicalSorter(graph(tmp_path)).prepare()


def privacies(arrows: dict[str, Path]) -> list[str]:
    """Private names of one module that another one takes: `from a import _b`, `a._b`, `from a import b; b._c`."""
    found = []
    for name, source in arrows.items():
        tree = ast.parse(source.read_text())
        local: dict[str, str] = {}  # what a name here stands for
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spartanc"):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    if is_private(alias.name):
                        found.append(f"{name} takes {whole}")
                    if whole in arrows:
                        local[alias.asname or alias.name] = whole
            elif isinstance(node, ast.Import):
                local |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in arrows}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) in local:
                found.append(f"{name} takes {local[ast.unparse(node.value)]}.{node.attr}")
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def test_no_module_takes_a_private_name_of_another():
    product = modules(PACKAGE)
    benchmarks = {f"benchmarks.{file.stem}": file for file in (ROOT / "benchmarks").glob("*.py")}
    assert benchmarks
    assert privacies(product | benchmarks) == []


@pytest.mark.parametrize(
    "line",
    [
        "from spartanc.base.a import _secret",
        "from spartanc.base import a\na._secret()",
        "import spartanc.base.a as other\nother._secret()",
        "import spartanc.base.a\ndef late():\n    return spartanc.base.a._secret",
    ],
)
def test_a_planted_private_name_is_found(tmp_path, line):
    (tmp_path / "base").mkdir()
    for name, text in (("__init__", ""), ("a", "def _secret(): ..."), ("b", line)):
        (tmp_path / "base" / f"{name}.py").write_text(text)
    (tmp_path / "__init__.py").write_text("")
    assert privacies(modules(tmp_path)) == ["spartanc.base.b takes spartanc.base.a._secret"]


def test_nothing_outside_the_tests_is_patched():
    for folder in ("compiler", "passes", "models", "runtime_py", "benchmarks", "spartanc/base"):
        for file in (ROOT / folder).rglob("*.py"):
            assert "mock.patch" not in file.read_text(), file


def test_every_test_file_has_a_name_of_its_own():
    """Two of one name can't be imported in one run: test folders are no packages."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
