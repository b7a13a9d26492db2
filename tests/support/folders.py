"""Folders of files that are to arrive somewhere, and what is found there."""

from __future__ import annotations

from pathlib import Path


def many_files(folder: Path, count: int, different: int | None = None) -> Path:
    """A new folder with `count` files in two folders, of `different` contents, by default one each."""
    for number in range(count):
        file = folder / f"tasks-{number % 2}" / f"a-task-with-a-name-of-usual-length-{number:04d}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"task {number % (different or count)}\n")
    return folder


def found_in(folder: Path) -> dict[str, bytes]:
    """Name and content of every file."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
