"""Compiles the demo against API 29 and the real ExecuTorch classes, and makes a signed APK of it.

What Gradle would do, by hand: resources, javac, R8, packing, aligning, signing, verifying. Versions and limits are
read from the demo's own files.
"""

from __future__ import annotations

import re
import shutil
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import jvm
from android_jar import write_jar
from inputs import ABIS, FRAMEWORK, Inputs
from jvm import run

APP = jvm.DEMO / "app"
NAMESPACE = "org.spartanc.demo"
STAND_INS = jvm.DEMO / "checks/stand_ins"
_STORED = (".pte", ".so")


@dataclass(frozen=True)
class Apk:
    path: Path
    classes: Path
    report: list[str]


def versions() -> dict[str, str]:
    with (jvm.DEMO / "gradle/libs.versions.toml").open("rb") as file:
        return tomllib.load(file)["versions"]


def build(inputs: Inputs, assets: Path, work: Path) -> Apk:
    """An APK of the app with the files below `assets` as its assets and the arm64 runtime inside."""
    work.mkdir(parents=True, exist_ok=True)
    android = work / "android-29.jar"
    if not android.exists():
        write_jar(inputs.signatures, android)
    base = _link_resources(assets, work)
    classes = _compile(inputs, android, work)
    _shrink(inputs, android, classes, work)
    unaligned = work / "unaligned.apk"
    _pack(base, work / "dex", inputs.libraries("arm64"), unaligned)
    aligned, signed = work / "aligned.apk", work / "demo.apk"
    run("zipalign", "-f", "-p", "4", unaligned, aligned)
    run("zipalign", "-c", "-p", "4", aligned)
    _sign(aligned, signed, work)
    return Apk(signed, classes, verify(signed))


def _link_resources(assets: Path, work: Path) -> Path:
    version = versions()
    manifest = (APP / "src/main/AndroidManifest.xml").read_text(encoding="utf-8")
    # Gradle puts these in from its build files.
    uses = f'<uses-sdk android:minSdkVersion="{version["min-sdk"]}" android:targetSdkVersion="29"/>'
    head = f'<manifest package="{NAMESPACE}" android:versionCode="1" android:versionName="0.1"'
    manifest = manifest.replace("<manifest", head, 1).replace("<application", f"{uses}\n  <application", 1)
    merged = work / "AndroidManifest.xml"
    merged.write_text(manifest, encoding="utf-8")
    run("aapt2", "compile", "--dir", APP / "src/main/res", "-o", work / "resources.zip")
    command = ["aapt2", "link", "-I", FRAMEWORK, "--manifest", merged, "--java", work / "generated", "-A", assets]
    levels = ["--min-sdk-version", version["min-sdk"], "--target-sdk-version", "29", "-0", "pte"]
    run(*command, *levels, "-o", work / "base.apk", work / "resources.zip")
    return work / "base.apk"


def _compile(inputs: Inputs, android: Path, work: Path) -> Path:
    """Core and app, with nothing of this machine's Java in sight: java.* too comes from the phone's API."""
    files = jvm.sources(jvm.CORE, jvm.APP, work / "generated", STAND_INS)
    shutil.rmtree(work / "classes", ignore_errors=True)
    options = ["-Xlint:-static", "-bootclasspath", str(android)]
    return jvm.compile_against(files, [inputs.executorch_classes], work / "classes", *options)


def _shrink(inputs: Inputs, android: Path, classes: Path, work: Path) -> None:
    """R8 with the rules of a release, and one more: the classes that the checks call stay."""
    rules = work / "keep.pro"
    rules.write_text((APP / "keep.pro").read_text() + "-keep class org.spartanc.** { *; }\n-ignorewarnings\n")
    shutil.rmtree(work / "dex", ignore_errors=True)
    (work / "dex").mkdir()
    tool = ["java", "-cp", inputs.d8, "com.android.tools.r8.R8", "--release", "--min-api", versions()["min-sdk"]]
    tool += ["--lib", android, "--pg-conf", rules, "--output", work / "dex"]
    run(*tool, *sorted(classes.rglob("*.class")), inputs.executorch_classes)


def _pack(base: Path, dex: Path, libraries: Path, out: Path) -> None:
    shutil.copyfile(base, out)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(dex.glob("*.dex")):
            archive.write(file, file.name)
        for file in sorted(libraries.glob("*.so")):
            archive.write(file, f"lib/{ABIS['arm64']}/{file.name}", zipfile.ZIP_STORED)


def _sign(aligned: Path, signed: Path, work: Path) -> None:
    store = work / "debug.p12"
    if not store.exists():
        key = ["-alias", "debug", "-keyalg", "RSA", "-keysize", "2048", "-validity", "10000", "-dname", "CN=Debug"]
        run("keytool", "-genkeypair", "-keystore", store, "-storetype", "PKCS12", "-storepass", "android", *key)
    options = ["--ks", store, "--ks-pass", "pass:android", "--ks-key-alias", "debug"]
    run("apksigner", "sign", *options, "--out", signed, aligned)


def verify(apk: Path) -> list[str]:
    """What the tools say of a signed APK; raises where one of them finds it wrong."""
    said = run("apksigner", "verify", "--verbose", apk)
    schemes = [scheme for scheme in ("v2", "v3") if re.search(rf"\({_scheme(scheme)}\): true", said)]
    if not said.startswith("Verifies") or not schemes:
        raise RuntimeError(f"apksigner: {said}")
    badging = run("aapt", "dump", "badging", apk)
    for expected in (f"package: name='{NAMESPACE}'", "launchable-activity", "native-code: 'arm64-v8a'"):
        if expected not in badging:
            raise RuntimeError(f"the APK says nothing of {expected}")
    classes = len(re.findall(r"Class descriptor", run("dexdump", "-f", apk)))
    size = apk.stat().st_size
    return [f"signed and verified by schemes {', '.join(schemes)}", f"{classes} classes", f"{size / 1e6:.1f} MB"]


def _scheme(name: str) -> str:
    return rf"APK Signature Scheme {name}"
