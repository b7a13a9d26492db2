"""Compiles and runs the demo's plain Java on this machine's JVM, at the Java 8 level."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

DEMO = Path(__file__).parents[1]
CORE = DEMO / "core/src/main/java"
APP = DEMO / "app/src/main/java"
DRIVERS = DEMO / "checks/java"
_STRICT = ["-Xlint:all", "-Xlint:-options", "-Xlint:-serial", "-Werror", "-encoding", "UTF-8", "-g"]


def run(*command: str | Path, timeout: float = 600, **options) -> str:
    """Standard output of `command`; what it said on failure goes into the error."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
    if done.returncode != 0:
        tail = (done.stdout + done.stderr)[-4000:]
        raise RuntimeError(f"`{Path(command[0]).name}` ended with {done.returncode}:\n{tail}")
    return done.stdout


def sources(*folders: Path) -> list[Path]:
    return sorted(file for folder in folders for file in folder.rglob("*.java"))


def compile_core(out: Path) -> Path:
    """The core, against Java 8's own classes: what it uses beyond them does not compile."""
    out.mkdir(parents=True, exist_ok=True)
    run("javac", *_STRICT, "--release", "8", "-d", out, *sources(CORE))
    return out


def compile_against(files: Sequence[Path], classpath: Sequence[Path], out: Path, *options: str) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = ":".join(map(str, classpath))
    run("javac", *_STRICT, "-source", "8", "-target", "8", *options, "-cp", path, "-d", out, *files)
    return out


def java(classpath: Sequence[Path], main: str, *arguments: str | Path, **options) -> str:
    return run("java", "-cp", ":".join(map(str, classpath)), main, *arguments, **options)
