"""A stand-in for the `adb` program: it does here, in a folder of its own, what it is asked to do on a phone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

_PROGRAM = """#!{python}
import os, re, shutil, subprocess, sys
ROOT, MACHINE, SERIAL, FULL = {root!r}, {machine!r}, "PHONE1", {full!r}
words = sys.argv[1:]
if words[:1] == ["-s"]:
    if words[1] != SERIAL:
        sys.exit("adb: device '" + words[1] + "' not found")
    words = words[2:]
here = lambda text: text.replace("/data/local/tmp", ROOT)
if words[0] == "push":
    if FULL:
        sys.exit("adb: error: failed to copy: remote write failed: No space left on device")
    shutil.copyfile(words[1], here(words[2]))
elif words[0] == "pull":
    if not os.path.isfile(here(words[1])):
        sys.exit("adb: error: failed to stat remote object")
    shutil.copyfile(here(words[1]), words[2])
elif words[0] == "shell":
    script = here(words[1])
    environment = dict(os.environ, PATH=ROOT + "/bin:" + os.environ["PATH"])
    if MACHINE == "aarch64":
        # The phone's processor: its loader runs under emulation.
        script = re.sub(r"^(\\S*ld-linux-aarch64)", r"qemu-aarch64-static -cpu cortex-a76 \\1", script)
    sys.exit(subprocess.run(["sh", "-c", script], env=environment).returncode)
else:
    sys.exit("adb: unknown command " + words[0])
"""


def install_adb(folder: Path, machine: str, full: bool = False) -> Path:
    """Put the stand-in into `folder`/bin, to be put on PATH; the phone's disk is `folder`/phone."""
    root = folder / "phone"
    for path in (folder / "bin", root / "bin"):
        path.mkdir(parents=True)
    program = folder / "bin" / "adb"
    program.write_text(_PROGRAM.format(python=sys.executable, root=str(root), machine=machine, full=full))
    uname = root / "bin" / "uname"
    uname.write_text(f"#!/bin/sh\necho {machine}\n")
    for path in (program, uname):
        path.chmod(0o755)
    return root


def log_commands(root: Path, *names: str, plain_sync: bool = False) -> Path:
    """From now on each use of these commands on the phone is a line of the file that is returned.

    plain_sync: the phone's `sync` takes no names, as some do.
    """
    log = root / "commands.log"
    log.touch()
    for name in names:
        refuse = "[ $# = 0 ] || exit 1\n" if plain_sync and name == "sync" else ""
        program = root / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n{refuse}exec {shutil.which(name)} "$@"\n')
        program.chmod(0o755)
    return log
