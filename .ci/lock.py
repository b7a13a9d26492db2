"""Writes requirements.lock: every package that `make setup` installs, with its version and the hash of its file.

    python .ci/lock.py [--index-url …]      further words go to pip

What pip would install into an empty environment of this Python on this machine is what is locked. To install it:
`pip install --require-hashes -r requirements.lock`, with the index that has torch's CPU build.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        words = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", report, *sys.argv[1:], *wanted]
        subprocess.run([sys.executable, "-m", "pip", *map(str, words)], check=True)
        rows = json.loads(report.read_text())["install"]
    lines = [
        "# Written by .ci/lock.py: what `make setup` installs, file by file, for",
        f"# CPython {platform.python_version().rpartition('.')[0]} on {platform.system()} {platform.machine()}.",
    ]
    for row in sorted(rows, key=lambda row: row["metadata"]["name"].lower()):
        hashes = row["download_info"]["archive_info"]["hashes"]
        name, version = row["metadata"]["name"].lower().replace("_", "-"), row["metadata"]["version"]
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{hashes['sha256']}")
    (ROOT / "requirements.lock").write_text("\n".join(lines) + "\n")
    print(f"{len(rows)} packages")


if __name__ == "__main__":
    main()
