"""Which files of this package a script needs: what it imports, and what that imports, inner imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).absolute().parents[1]


def imported_modules(script: Path) -> dict[str, Path]:
    """The closure of `script`'s imports from spartanc: path below a folder on `sys.path` -> source file."""
    found: dict[str, Path] = {}
    waiting = [script]
    while waiting:
        for name in imports_of(waiting.pop()):
            for file in _files(name):
                key = str(file.relative_to(PACKAGE.parent))
                if key not in found:
                    found[key] = file
                    waiting.append(file)
    return dict(sorted(found.items()))


def imports_of(source: Path) -> Iterator[str]:
    """Dotted names below `spartanc` that `source` imports; `from a import b` gives both `a` and `a.b`.

    Blocks under `if TYPE_CHECKING:` are left out: nothing runs them.
    """
    for node in _running(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == PACKAGE.name)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _running(child)


def _files(name: str) -> Iterator[Path]:
    """A module's file and those of the packages above it; nothing for a name that is no module."""
    parts = name.split(".")[1:]
    folder = PACKAGE
    yield folder / "__init__.py"
    for part in parts:
        if (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py"
            return
        folder = folder / part
        if not (folder / "__init__.py").is_file():
            return
        yield folder / "__init__.py"
