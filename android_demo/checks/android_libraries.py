"""Makes Android builds of native libraries loadable on this machine, for a Java on x86-64 or on arm64 under qemu.

Their code is left as it is. In the copies, the demand for bionic's symbol versions is taken out. Of the libraries that
they need, libc is a small one of ours over glibc (bionic/libc.c), and libm, libdl, liblog and libandroid are empty.
"""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from inputs import Inputs, java_headers
from jvm import run

SOURCES = Path(__file__).parent / "bionic"
COMPILERS = {"x86_64": "gcc", "arm64": "aarch64-linux-gnu-gcc"}
_DYNAMIC = 2
_VERSION_TAGS = (0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF)  # VERSYM, VERDEF, VERNEED and counts
_IGNORED_TAG = 0x6000000D  # the first of those that an operating system may define, and Linux does not
_EMPTY = ("libm.so", "libdl.so", "liblog.so", "libandroid.so")


@dataclass(frozen=True)
class AndroidJava:
    """A Java that can load the Android libraries of one architecture."""

    architecture: str
    folder: Path
    arm64_root: Path | None

    def run(self, classpath: list[Path], main: str, *arguments: str | Path, timeout: float = 3600) -> str:
        options = ["-Xss4m", f"-Djava.library.path={self.folder}", "-cp", ":".join(map(str, classpath)), main]
        if self.arm64_root is None:
            environment = {"LD_LIBRARY_PATH": str(self.folder), "LD_PRELOAD": str(self.folder / "libtls.so")}
            command: list[str | Path] = ["env", *(f"{name}={value}" for name, value in environment.items()), "java"]
        else:
            java = self.arm64_root / "usr/lib/jvm/java-17-openjdk-arm64/bin/java"
            command = ["qemu-aarch64-static", "-cpu", "max,sme=off", "-L", self.arm64_root]
            command += ["-E", f"LD_PRELOAD={self.folder}/libtls.so", "-E", f"LD_LIBRARY_PATH={self.folder}", java]
        return run(*command, *options, *arguments, timeout=timeout)


def prepare(inputs: Inputs, architecture: str, folder: Path, libraries: Path | None = None) -> AndroidJava:
    """`libraries` are those of the runtime, or those taken out of an APK."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    compiler = COMPILERS[architecture]
    shared = [compiler, "-O1", "-fPIC", "-shared", "-w"]
    # A compiler that knows these functions would turn one into a call of itself.
    run(*shared, "-fno-builtin", SOURCES / "libc.c", "-Wl,-soname,libc.so", "-o", folder / "libc.so", "-lm")
    run(*shared, SOURCES / "tls.c", "-o", folder / "libtls.so")
    headers = java_headers()
    includes = [f"-I{headers}", f"-I{headers}/linux"]
    run(*shared, *includes, SOURCES / "opener.c", "-o", folder / "libopener.so")
    empty = folder / "empty.c"
    empty.write_text("")
    for name in _EMPTY:
        run(*shared, empty, f"-Wl,-soname,{name}", "-Wl,--no-as-needed", "-l:libm.so.6", "-o", folder / name)
    for library in sorted((libraries or inputs.libraries(architecture)).glob("*.so")):
        (folder / library.name).write_bytes(without_versions(library.read_bytes()))
    return AndroidJava(architecture, folder, inputs.arm64_root if architecture == "arm64" else None)


def without_versions(data: bytes) -> bytes:
    """A 64-bit little-endian ELF library whose dynamic section asks for no symbol versions."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    result = bytearray(data)
    table, entry_size, entries = struct.unpack_from("<Q14xHH", data, 0x20)[0], *struct.unpack_from("<HH", data, 0x36)
    for index in range(entries):
        at = table + index * entry_size
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, at)
        if kind != _DYNAMIC:
            continue
        for entry in range(offset, offset + size, 16):
            if struct.unpack_from("<Q", data, entry)[0] in _VERSION_TAGS:
                struct.pack_into("<Q", result, entry, _IGNORED_TAG)
    return bytes(result)
