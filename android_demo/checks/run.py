"""All checks of the Android demo that need no Android SDK and no phone: `make test-android` runs this.

    run.py [--texts N] [--model MODEL.pt …] [--work DIR]

With no model given, two small ones with random weights are made. Each step ends in one line of what it showed; the
first that fails ends the run with exit 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import android_libraries
import apk
import demo_models
import jvm
import parity
import texts
from inputs import Inputs

from spartanc.compiler.android_assets import write_android_assets
from spartanc.compiler.quiet import hush
from spartanc.models.checkpoint import load_model

ROOT = jvm.DEMO.parent
FEWEST_TEXTS = 400
CLASSIFIED = 40
LARGEST_DIFFERENCE = 1e-4
_DRIVERS = ("CoreTest", "Encode", "Opener", "Classify")


class Checks:
    def __init__(self, work: Path, count: int, models: Sequence[Path]):
        self._work = work
        self._real = texts.real_texts(ROOT)
        self._texts = texts.hard_texts(max(count, FEWEST_TEXTS), self._real)
        trained = {path.stem: load_model(path) for path in models}
        given = {name: model.tokenizer for name, model in trained.items() if model.tokenizer is not None}
        self._tokenizers = parity.tokenizers_to_try(self._real, given)
        self._sentences = [example.text for model in trained.values() for example in model.eval_examples] or self._real
        self._models = list(models)
        self._inputs = Inputs()
        self.passed = 0

    def step(self, name: str, action: Callable[[], str]) -> None:
        start = time.monotonic()
        print(f"{name}: {action()} ({time.monotonic() - start:.0f} s)", flush=True)
        self.passed += 1

    def run(self) -> None:
        self.step("unicode tables", self.unicode_tables)
        self.step("core on class files", self.core)
        self.step("tokenizers on class files", lambda: self.tokenizers(self._classes))
        self.step("bundles", self.bundles)
        self.step("APK", self.make_apk)
        self.step("core on the APK's dex", lambda: self.own_checks(self._dex))
        self.step("tokenizers on the APK's dex", lambda: self.tokenizers(self._dex))
        self.step("sentences on x86-64", lambda: self.sentences("x86_64"))
        self.step("sentences on arm64 under qemu", lambda: self.sentences("arm64"))

    def unicode_tables(self) -> str:
        return jvm.run(sys.executable, jvm.DEMO / "checks/unicode_tables.py", "--check").strip()

    def core(self) -> str:
        core = jvm.compile_core(self._work / "core")
        drivers = [jvm.DRIVERS / f"{name}.java" for name in ("CoreTest", "Encode")]
        self._classes = [core, jvm.compile_against(drivers, [core], self._work / "drivers")]
        return self.own_checks(self._classes)

    def own_checks(self, classpath: list[Path]) -> str:
        return jvm.java(classpath, "CoreTest").strip().splitlines()[-1]

    def tokenizers(self, classpath: list[Path]) -> str:
        def encode(definition: Path, lines: Path, results: Path, max_length: int) -> None:
            jvm.java(classpath, "Encode", definition, lines, results, str(max_length))

        compared, wrong = 0, []
        for rows, max_length in ((self._texts, 64), (self._texts[: len(self._texts) // 5], 12)):
            with tempfile.TemporaryDirectory(dir=self._work) as scratch:
                count, found = parity.compare(encode, rows, self._tokenizers, Path(scratch), [max_length])
            compared, wrong = compared + count, wrong + found
        if wrong:
            raise RuntimeError(f"{len(wrong)} of {compared} rows differ, the first: {wrong[0]}")
        return f"{compared} rows of {len(self._texts)} texts by {len(self._tokenizers)} tokenizers, all ids equal"

    def bundles(self) -> str:
        if not self._models:
            self._models = demo_models.make_models(self._tokenizers, self._real, self._work / "models")
        self._assets = self._work / "assets"
        for bundle in demo_models.compile_bundles(self._models, self._work / "bundles"):
            write_android_assets(bundle, self._assets)
        return f"{len(self._models)} compiled for android-arm64 and copied to assets"

    def make_apk(self) -> str:
        built = apk.build(self._inputs, self._assets, self._work / "apk")
        unpacked = self._work / "unpacked"
        with zipfile.ZipFile(built.path) as archive:
            archive.extractall(unpacked)
        jar = self._work / "dex.jar"
        jvm.run("enjarify", "-f", "-o", jar, built.path, env={"PATH": "/usr/bin:/bin"})
        drivers = [jvm.DRIVERS / f"{name}.java" for name in _DRIVERS]
        # Compiled against what went into R8, for R8 takes out what only a compiler reads; run on what came out.
        compiled = [built.classes, self._inputs.executorch_classes]
        self._dex = [jar, jvm.compile_against(drivers, compiled, self._work / "dex-drivers", "-Xlint:-classfile")]
        self._unpacked = unpacked
        return ", ".join(built.report)

    def sentences(self, architecture: str) -> str:
        """The APK's dex and assets, and on arm64 its native libraries too, against eager PyTorch."""
        libraries = self._unpacked / "lib/arm64-v8a" if architecture == "arm64" else None
        java = android_libraries.prepare(self._inputs, architecture, self._work / f"java-{architecture}", libraries)
        rows = [[text] for text in self._sentences[:CLASSIFIED]]
        rows += [[first, second] for first, second in zip(self._sentences[:8], self._sentences[8:16], strict=True)]
        rows += [["word " * 2000], ["!"]]
        lines, results = self._work / "sentences.jsonl", self._work / f"classified-{architecture}.txt"
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        scratch = self._work / f"programs-{architecture}"
        scratch.mkdir(exist_ok=True)
        bundles = self._unpacked / "assets/bundles"
        machine = java.run(self._dex, "Classify", bundles, scratch, lines, results).strip().splitlines()[-1]
        answers: dict[str, list[dict[str, float]]] = {}
        for line in results.read_text(encoding="utf-8").splitlines():
            name, *pairs = line.split("\t")
            answers.setdefault(name, []).append(dict(zip(pairs[::2], map(float, pairs[1::2]), strict=True)))
        worst, labels_seen = 0.0, set()
        for model in self._models:
            labels, expected = demo_models.eager_probabilities(model, rows)
            got = answers[model.stem]
            if len(got) != len(rows):
                raise RuntimeError(f"{len(got)} answers of `{model.stem}` for {len(rows)} texts")
            for row, probabilities, scores in zip(rows, expected.tolist(), got, strict=True):
                by_label = dict(zip(labels, probabilities, strict=True))
                label = max(by_label, key=by_label.__getitem__)
                if next(iter(scores)) != label:
                    raise RuntimeError(f"`{row[0][:60]}` is `{next(iter(scores))}` there and `{label}` in eager")
                worst = max(worst, *(abs(by_label[name] - scores[name]) for name in labels))
                labels_seen.add((model.stem, label))
        if worst > LARGEST_DIFFERENCE:
            raise RuntimeError(f"a probability differs from eager's by {worst:.2g}")
        if len(labels_seen) <= len(self._models):
            raise RuntimeError("every text had the same label: nothing was shown")
        count = len(rows) * len(self._models)
        return f"{count} answers on {machine}, eager's labels on all, largest difference {worst:.1g}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks of the Android demo without an Android SDK.")
    parser.add_argument("--texts", type=int, default=10_000, help="texts that the tokenizers are compared on")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a trained model; may be repeated")
    parser.add_argument("--work", type=Path, help="a folder to keep what is made")
    given = parser.parse_args()
    hush()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        try:
            checks = Checks(work, given.texts, given.model)
            checks.run()
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
        print(f"{checks.passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
