"""Runs on the board: checks what the last cut left, then writes what a board's user writes until the power is cut.

    python3 board_writer.py HOME      one line of JSON when every file is the old one or the new one

HOME/fleet is a signed fleet, HOME/pair.json and HOME/pair.safetensors its task `pair`, HOME/key the key, and
HOME/signatures has the signatures of its manifests, by their digests. Each round takes that task out of the fleet or
adds it, writes a whole bundle and a pair of keys, and opens an earlier bundle, so that a record is written of what was
checked. All by the product's own code, as its commands call it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HOME = Path(sys.argv[1])
sys.path.insert(0, str(HOME / "product"))

from spartanc.compiler.artifact import replaced_whole, whole_or_nothing, write_manifest  # noqa: E402
from spartanc.runtime_py.bundle import MANIFEST, Bundle, open_bundle  # noqa: E402
from spartanc.runtime_py.signature import SIGNATURE, read_private_key, read_public_key, write_key_pair  # noqa: E402

FLEET, KEY = HOME / "fleet", HOME / "key"
TASK = "pair"
MOST_BUNDLES = 40  # in one life: the disk is small


def opened(path: Path) -> Bundle:
    return open_bundle(path, require_signature=KEY.with_name("key.pub"))


def write_signed(folder: Path, manifest: dict[str, Any]) -> None:
    """With a signature made elsewhere: Debian's `cryptography` can check them and not make them."""
    write_manifest(folder, manifest)
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    shutil.copyfile(HOME / "signatures" / digest, folder / SIGNATURE)


def change_task(manifest: dict[str, Any]) -> None:
    """As `add-task` and `remove-task` end, once they have a task's file."""
    tasks = dict(manifest["fleet"]["tasks"])
    row = json.loads((HOME / f"{TASK}.json").read_text())
    with replaced_whole(FLEET) as folder:
        (folder / row["file"]).unlink(missing_ok=True)
        if tasks.pop(TASK, None) is None:
            shutil.copyfile(HOME / f"{TASK}.safetensors", folder / row["file"])
            tasks[TASK] = row
        write_signed(folder, manifest | {"fleet": manifest["fleet"] | {"tasks": tasks}})


def write() -> None:
    for number in itertools.count():
        change_task(opened(FLEET).manifest)
        write_key_pair(HOME / f"new-{time.monotonic_ns()}")
        if number < MOST_BUNDLES:
            write_bundle(HOME / f"made-{number}")
        settled = HOME / f"made-{max(0, min(number, MOST_BUNDLES) - 4)}"  # what is younger than 2 s gets no record
        subprocess.run([FLEET / "runtime/spartan", "info", settled], capture_output=True, check=True)
        opened(settled)


def write_bundle(out: Path) -> None:
    """As `compile` ends."""
    manifest = opened(FLEET).manifest
    with whole_or_nothing(out) as folder:
        for name in manifest["files"]:
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            shutil.copy(FLEET / name, folder / name)
        write_signed(folder, manifest)


def check() -> None:
    """Prints what is there as JSON; AssertionError, or the product's error, where something is neither old nor new."""
    found = {"fleet": require_whole(FLEET), "bundles": 0, "keys": 0, "left": 0}
    for path in sorted(HOME.iterdir()):
        if path.name.startswith("made-"):
            found["bundles"] += bool(require_whole(path))
        elif path.name.startswith("new-"):
            # The name alone says nothing: both halves have to be keys.
            (read_public_key if path.suffix == ".pub" else read_private_key)(path)
            found["keys"] += 1
        elif path.name.startswith("."):
            found["left"] += 1
        else:
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    change_task(opened(FLEET).manifest)  # the next command works
    require_whole(FLEET)
    found["records"] = len(list((Path.home() / ".cache/spartanc/verified").glob("*")))
    print(json.dumps(found), flush=True)


def require_whole(bundle: Path) -> list[str]:
    """Every file has the digest that the signed manifest says, whatever a record claims; the names of its tasks."""
    manifest = opened(bundle).manifest
    for name, listed in manifest["files"].items():
        digest = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
        assert digest == listed["sha256"], f"{bundle / name} has {digest}"
    done = subprocess.run([bundle / "runtime/spartan", "check", bundle], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(manifest["fleet"]["tasks"])


if __name__ == "__main__":
    check()
    write()
