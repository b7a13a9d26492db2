"""Builds the native runtime of a target with CMake, once, into the per-user cache.

The cache's key is everything that the result depends on: sources, flags, compiler, ExecuTorch. Two processes
that want the same build wait for each other. The sources come with this package.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from spartanc.base.cache import cache_directory, locked
from spartanc.base.files import put_in_place, write_whole
from spartanc.base.targets.catalogue import find_target
from spartanc.base.targets.target import Target
from spartanc.errors import CompileError, MissingToolError
from spartanc.runtime_py.imports import imported_modules
from spartanc.runtime_py.setup_target import require_compiler, require_executorch

NATIVE_SOURCES = Path(__file__).parent / "native"
RUNTIME = "runtime"  # the folder of a bundle
COMMAND = "spartan"
LIBRARY = "libspartan.so"
OPERATORS = "libspartan_ops.so"
_NOTE = ".sources"
_EXECUTORCH_LIBRARIES = (
    "libexecutorch.so",
    "libexecutorch_backend_xnnpack.so",
    "libexecutorch_etdump.so",
    "libexecutorch_kernels_optimized.so",
    "libexecutorch_kernels_quantized.so",
    "libexecutorch_threadpool.so",
)


@dataclass(frozen=True)
class _Recipe:
    compiler: str
    package: Path
    options: tuple[str, ...]

    @property
    def executorch_dir(self) -> Path:
        return self.package / "lib" / "cmake" / "executorch"


def build_runtime(target: Target | str) -> Path:
    """The directory of the target's native runtime, built now if it is not in the cache.

    It holds `spartan`, `libspartan.so` and `libspartan_ops.so`; for a board also the ExecuTorch libraries
    they need, so that the directory can be copied as it is. Raises MissingToolError (exit 5) where a
    compiler, or what `spartanc setup` brings, is missing; CompileError (exit 4) where the sources do not
    build.
    """
    target = find_target(target) if isinstance(target, str) else target
    if target.is_host and importlib.util.find_spec("executorch") is None:
        return _built_before()
    recipe = _recipe(target)
    name = f"{_architecture(target)}-{_key(recipe)}"
    finished = cache_directory() / "runtime" / name
    if _is_whole(finished):
        _note_sources(finished)
        return finished
    with locked(f"build-{name}") as cache:
        if not _is_whole(finished):
            start = time.monotonic()
            print(f"building the native runtime for {_architecture(target)} (once)", file=sys.stderr, flush=True)
            _build(recipe, cache, finished)
            print(f"built in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        _note_sources(finished)
    return finished


def require_runtime(name: str) -> None:
    """Raise MissingToolError where what the native runtime of a board is built with is missing. Builds nothing."""
    target = find_target(name)
    if not target.is_host and target.has_native_runtime:
        _recipe(target)


def runtime_versions(target: Target) -> dict[str, str]:
    """What the target's runtime is built with: compiler, CMake, Ninja."""
    recipe = _recipe(target)
    said = subprocess.run([recipe.compiler, "--version"], capture_output=True, text=True).stdout
    tools = {name: importlib.metadata.version(name) for name in ("cmake", "ninja")}
    return {"compiler": said.partition("\n")[0], **tools}


def install_runtime(target: Target, directory: Path) -> None:
    """Put what a board needs beside its program: `directory`/runtime, with `spartan`, libraries, `run.py`, a unit."""
    runtime = directory / RUNTIME
    install_library(target, runtime)
    board = Path(__file__).parent / "board"
    command = board / "run.py"
    for file in (command, board / "spartan.service"):
        shutil.copyfile(file, runtime / file.name)
    for name, source in imported_modules(command).items():
        destination = runtime / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


def install_library(target: Target | str, runtime: Path) -> None:
    """Write the folder `runtime`: `spartan` with its libraries, and what a C++ program needs to use them.

    include/ has the headers, lib/cmake/ what `find_package(spartan)` looks for, example/ a program: docs/from-cpp.md.
    """
    runtime.mkdir()
    for name, source in board_runtime_files(target).items():
        shutil.copy2(source, runtime / name)
    session = NATIVE_SOURCES / "session"
    shutil.copytree(session / "include", runtime / "include")
    shutil.copytree(session / "cmake", runtime / "lib" / "cmake" / "spartan")
    shutil.copytree(session / "example", runtime / "example")


def board_runtime_files(target: Target | str) -> dict[str, Path]:
    """Every file that `spartan` needs on another machine of the target's architecture, by name."""
    target = find_target(target) if isinstance(target, str) else target
    files = {file.name: file for file in build_runtime(target).iterdir() if file.is_file()}
    if target.is_host:
        # Here the build finds ExecuTorch's libraries where they are installed; elsewhere they stand beside it.
        folder = _installed_executorch() / "lib"
        files |= {name: folder / name for name in _EXECUTORCH_LIBRARIES}
    return files


def _architecture(target: Target) -> str:
    return "host" if target.is_host else target.architecture


def _is_whole(directory: Path) -> bool:
    return all((directory / name).is_file() for name in (COMMAND, LIBRARY, OPERATORS))


def _recipe(target: Target) -> _Recipe:
    flags = f"-DCMAKE_CXX_FLAGS={' '.join(target.base_flags)}"
    if target.toolchain is None:
        compiler = require_compiler()
        return _Recipe(compiler, _installed_executorch(), (flags, f"-DCMAKE_CXX_COMPILER={compiler}"))
    if not target.has_native_runtime:
        raise MissingToolError(
            f"spartanc builds no native runtime for `{target.name}`: its C library is not the one that"
            f" ExecuTorch's"
            " packages are built for",
            hint="compile with `--no-runtime`; the app brings the runtime",
        )
    package = require_executorch(target, target.toolchain)
    compiler = require_compiler(target.toolchain)
    toolchain = NATIVE_SOURCES / "cmake" / target.toolchain.cmake_file
    return _Recipe(compiler, package, (flags, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DSPARTAN_BUNDLED_RUNTIME=ON"))


def _installed_executorch() -> Path:
    """The package's folder, found without importing it: importing loads libraries into this process."""
    spec = importlib.util.find_spec("executorch")
    if spec is None or not spec.submodule_search_locations:
        raise MissingToolError("executorch is not installed", hint="pip install spartanc")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _built_before() -> Path:
    """This machine's runtime as an installation with executorch built it from the same sources, the newest one.

    It needs that installation's ExecuTorch libraries, and nothing else of it.
    """
    sources = _sources_digest().hexdigest()
    notes = (cache_directory() / "runtime").glob(f"host-*{_NOTE}")
    found = [note.with_suffix("") for note in notes if note.read_text() == sources]
    whole = sorted(filter(_is_whole, found), key=lambda folder: folder.stat().st_mtime)
    if not whole:
        raise MissingToolError(
            "the native runtime of this machine is not built, and executorch, which it is built with, is not installed",
            hint="pip install spartanc with its dependencies, once; or take a bundle that brings its own `runtime/`",
        )
    return whole[-1]


def _note_sources(finished: Path) -> None:
    """Beside the runtime: what it was built from, for processes that lack the rest of its key."""
    note = finished.with_name(finished.name + _NOTE)
    if finished.name.startswith("host-") and not note.is_file():
        write_whole(note, _sources_digest().hexdigest())


def _sources_digest() -> hashlib._Hash:
    digest = hashlib.sha256()
    for file in sorted(NATIVE_SOURCES.rglob("*")):
        if file.is_file() and "tests" not in file.relative_to(NATIVE_SOURCES).parts:
            digest.update(f"{file.relative_to(NATIVE_SOURCES)}\0".encode() + file.read_bytes() + b"\0")
    return digest


def _key(recipe: _Recipe) -> str:
    digest = _sources_digest()
    version = subprocess.run([recipe.compiler, "--version"], capture_output=True, text=True).stdout
    executorch = importlib.metadata.version("executorch")
    digest.update("\0".join([version, executorch, str(recipe.package), *recipe.options]).encode())
    return digest.hexdigest()[:16]


def _tool(name: str) -> str:
    """cmake or ninja as its Python package installed it, else the system's."""
    try:
        files = importlib.metadata.distribution(name).files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        program = Path(str(file.locate()))
        if file.name == name and program.parent.name == "bin" and os.access(program, os.X_OK):
            return str(program.resolve())
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(f"`{name}` is missing", hint=f"pip install {name}")
    return found


def _build(recipe: _Recipe, cache: Path, finished: Path) -> None:
    cmake, ninja = _tool("cmake"), _tool("ninja")
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache) as scratch:
        configure = [
            cmake,
            "-S",
            str(NATIVE_SOURCES),
            "-B",
            scratch,
            "-G",
            "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
        ]
        configure += [
            f"-Dexecutorch_DIR={recipe.executorch_dir}",
            "-DCMAKE_BUILD_TYPE=Release",
            *recipe.options,
        ]
        _step(configure, "configured")
        _step([cmake, "--build", scratch], "built")
        finished.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(finished, ignore_errors=True)
        put_in_place(Path(scratch) / "runtime", finished)
    if not _is_whole(finished):
        raise CompileError(f"the build of the native runtime left no `{COMMAND}` in `{finished}`")


def _step(command: list[str], done: str) -> None:
    # What ExecuTorch's package prints while it is found names files of this machine; it is shown only on
    # failure.
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-40:])
        raise CompileError(f"the native runtime could not be {done}:\n{tail}")
