"""The files that a device over a wire keeps, so that a second run sends nothing.

    files/DIGEST     every file that was ever sent, named by its SHA-256
    checked          the boot since which all of `files` is known to be whole

A name alone is not believed: a power cut can leave an empty or half-written file under it. So a file is on the disk
before it gets its name; every visit compares sizes; and once after a boot, or after a job that failed, every stored
file is hashed where it lies, and those that are not what their names say are removed and sent again. Other visits hash
nothing that is stored: what enters is hashed when it arrives. A device that doesn't say which boot this is hashes on
every visit.

Files that no job used for a week are removed on the next visit.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from spartanc.base.files import file_digest
from spartanc.runtime_py.devices.wire import Wire

_DAYS = 7
# Bytes. A script is one argument of a program, here and on the device, and Linux takes 128 KiB at most.
_LONGEST_SCRIPT = 64 << 10
_LOOK = """cd "{files}" || exit 1
find . -type f -mtime +{days} -exec rm -f {{}} +
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
if [ -z "$boot" ] || [ "$(cat "{checked}" 2>/dev/null)" != "$boot" ]; then
  for file in *; do
    [ -f "$file" ] || continue
    case "$(sha256sum "$file" 2>/dev/null)" in
      "$file "*) ;;
      *) rm -f "$file" || exit 1 ;;
    esac
  done
  echo "$boot" >"{checked}"
fi
ls -ln
"""
# Only what arrived whole, and is on the disk, enters the store. Some `sync`s take no names: those write out everything.
_ENTER = """cd "{incoming}" || exit 1
chmod 755 ./* || exit 1
if sync . 2>/dev/null; then sync ./*; else sync; fi || exit 1
mv -f ./* "{files}/"
"""


class Store:
    """See the module's docstring. Every method raises DeviceError where the device fails."""

    def __init__(self, wire: Wire):
        self._wire = wire
        self._files = f"{wire.base}/files"
        self._checked = f"{wire.base}/checked"
        self._sizes: dict[str, int] = {}  # bytes, by digest
        self.distrust = f'rm -f "{self._checked}"'  # a script: after it the next visit hashes every file

    def look(self) -> None:
        """Remove what is old or damaged, and note what is there."""
        self._wire.must(f'mkdir -p "{self._files}"')
        done = self._wire.must(_LOOK.format(files=self._files, checked=self._checked, days=_DAYS))
        self._sizes = _sizes(done.stdout)

    def provide(self, files: dict[str, Path], job: str) -> None:
        """Make local files available as `job`/name; sends what the device does not hold yet."""
        digests = {name: file_digest(path) for name, path in files.items()}
        wanted = {digest: files[name] for name, digest in digests.items()}
        self._send_missing(wanted, job)
        scripts = self._links(digests, job)
        if any(self._wire.shell(script).code != 0 for script in scripts):
            # Gone since we looked: another client, or a person, cleared up.
            self.look()
            self._send_missing(wanted, job)
            for script in scripts:
                self._wire.must(script)

    def _links(self, digests: dict[str, str], job: str) -> list[str]:
        lines = []
        for folder in sorted({str(Path(name).parent) for name in digests} - {"."}):
            lines.append(f"mkdir -p {shlex.quote(folder)}")
        for name, digest in digests.items():
            # touch: a file in use is not a week old; never make one. A link costs nothing; a copy serves where links
            # can't be made.
            stored = f'"{self._files}/{digest}"'
            lines.append(f"touch -c {stored} && {{ ln -f {stored} {shlex.quote(name)} 2>/dev/null ||")
            lines[-1] += f" cp {stored} {shlex.quote(name)}; }}"
        return [f'cd "{job}" && {part}' for part in _parts(lines, " && ")]

    def _send_missing(self, wanted: dict[str, Path], job: str) -> None:
        sizes = {digest: path.stat().st_size for digest, path in wanted.items()}
        missing = {digest: path for digest, path in wanted.items() if self._sizes.get(digest) != sizes[digest]}
        if not missing:
            return
        incoming = f"{job}/incoming"
        self._wire.must(f'mkdir -p "{incoming}"')
        self._wire.send(missing, incoming)
        for checks in _parts([f"{digest}  {digest}" for digest in missing], "\\n"):
            self._wire.must(f'cd "{incoming}" && printf "{checks}\\n" | sha256sum -c >/dev/null')
        self._wire.must(_ENTER.format(incoming=incoming, files=self._files))
        self._sizes |= {digest: sizes[digest] for digest in missing}


def _parts(pieces: list[str], between: str) -> list[str]:
    """The pieces joined to as few texts as keep to the longest script; each of them is far shorter."""
    parts: list[list[str]] = []
    left = 0  # bytes
    for piece in pieces:
        size = len(os.fsencode(between + piece))
        if size > left:
            parts.append([])
            left = _LONGEST_SCRIPT
        parts[-1].append(piece)
        left -= size
    return [between.join(part) for part in parts]


def _sizes(listing: str) -> dict[str, int]:
    """Bytes of every plain file that `ls -ln` listed, by name."""
    rows = [line.split() for line in listing.splitlines() if line.startswith("-")]
    return {row[-1]: int(row[4]) for row in rows if row[4].isdigit()}
