"""`spartanc android-assets`: a verified bundle becomes assets of the demo app.

    OUT/bundles/NAME/    the bundle as it is, manifest and digest with it: the app checks it again

A bundle is taken whole or not at all, so that its manifest, and a signature over it, still hold on the
phone. It must be one that the stock Android archive can run: a `.pte` of stock operators, and nothing
native beside it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from spartanc.base.files import file_digest, put_in_place
from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import MANIFEST, MANIFEST_DIGEST, TOKENIZER, Bundle, open_bundle
from spartanc.runtime_py.signature import SIGNATURE

FOLDER = "bundles"
# Gradle leaves out of an APK what begins with a dot or an underscore.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_android_assets(
    bundle: Path, out: Path, name: str | None = None, require_signature: Path | None = None
) -> dict[str, Any]:
    """Copy the bundle at `bundle` to `out`/bundles/`name` (its directory's name without one).

    An earlier one of that name is replaced; others stay, and the app lists them all. Raises UsageError for
    a bundle that is altered, or that the stock archive cannot run. Returns `{"assets": path, "files":
    {name: bytes}}`.
    """
    opened = open_bundle(bundle, require_signature=require_signature)
    name = name or bundle.resolve().name
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` can't name a task of the app",
            hint="letters, digits, `.`, `_` and `-`, the first a letter or digit",
        )
    _require_stock(opened)
    target = out / FOLDER / name
    files = [*opened.manifest["files"], MANIFEST, MANIFEST_DIGEST]
    if (bundle / SIGNATURE).is_file():
        files.append(SIGNATURE)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as scratch:
            staged = Path(scratch, name)
            for file in files:
                (staged / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle / file, staged / file)
            _check_copy(staged, opened)
            if target.exists():
                target.rename(Path(scratch, "before"))
            put_in_place(staged, target)
    except OSError as error:
        raise UsageError(f"assets can't be written to `{target}`: {error.strerror or error}") from error
    return {"assets": str(target), "files": {file: (target / file).stat().st_size for file in files}}


def _require_stock(bundle: Bundle) -> None:
    manifest = bundle.manifest
    if bundle.program.suffix != ".pte":
        raise UsageError(f"bundle `{bundle.path}` holds `{bundle.program.name}`; the app runs a `.pte`")
    if manifest["lowering"] != "portable":
        raise UsageError(
            f"bundle `{bundle.path}` was lowered `{manifest['lowering']}`: the stock Android archive has no"
            " spartan::memory_lookup, and an app cannot register it",
            hint="compile with `--target android-arm64 --lowering portable`",
        )
    if TOKENIZER not in manifest["files"]:
        raise UsageError(f"bundle `{bundle.path}` has no `{TOKENIZER}`; the app takes text")
    native = sorted(file for file in manifest["files"] if file.startswith("runtime/"))
    if native:
        raise UsageError(
            f"bundle `{bundle.path}` holds `{native[0]}`, which the app has no use for",
            hint="compile with `--no-runtime`, or for `--target android-arm64`",
        )


def _check_copy(staged: Path, bundle: Bundle) -> None:
    for name, entry in bundle.manifest["files"].items():
        if file_digest(staged / name) != entry["sha256"]:
            raise UsageError(f"`{name}` of bundle `{bundle.path}` changed while it was copied")
