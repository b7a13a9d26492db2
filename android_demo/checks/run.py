"""All checks of the Android demo that need no Android SDK and no phone: `make test-android` runs this.

    run.py [--texts N] [--model MODEL.pt …] [--task MODEL.pt …] [--work DIR]

Every MODEL becomes a program of its own; those given by `--task`, which share a backbone, become one program with a
task each. With none given, small ones with random weights are made. Each step ends in one line of what it showed; the
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
import pieces
import texts
from inputs import Inputs

from spartanc.base.quiet import hush
from spartanc.compiler.android_assets import write_android_assets
from spartanc.models.checkpoint import load_model

ROOT = jvm.DEMO.parent
FEWEST_TEXTS = 400
CLASSIFIED = 40
LARGEST_DIFFERENCE = 1e-4
_DRIVERS = ("CoreTest", "Encode", "Opener", "Classify")


class Checks:
    def __init__(self, work: Path, count: int, models: Sequence[Path], tasks: Sequence[Path]):
        self._work = work
        self._real = texts.real_texts(ROOT)
        self._texts = texts.hard_texts(max(count, FEWEST_TEXTS), self._real)
        trained = {path.stem: load_model(path) for path in (*models, *tasks)}
        each_once = {model.tokenizer: name for name, model in trained.items() if model.tokenizer is not None}
        given = {name: tokenizer for tokenizer, name in each_once.items()}
        self._inputs = Inputs()
        given["multilingual-e5-small"] = self._inputs.multilingual.read_text(encoding="utf-8")
        given |= {path.stem: pieces.of_model(path.read_bytes()) for path in self._inputs.pieces}
        self._tokenizers = parity.tokenizers_to_try(self._real, given)
        self._sentences = [example.text for model in trained.values() for example in model.eval_examples] or self._real
        self._models, self._tasks = list(models), list(tasks)
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
        if not self._tasks:
            self._tasks = demo_models.make_fleet_models(self._tokenizers, self._real, self._work / "models")
        self._assets = self._work / "assets"
        bundles = demo_models.compile_bundles(self._models, self._work / "bundles")
        bundles.append(demo_models.compile_fleet(self._tasks, self._work / "bundles"))
        for bundle in bundles:
            write_android_assets(bundle, self._assets)
        shared = f"one for {len(self._tasks)} tasks"
        return f"{len(self._models)} programs and {shared} compiled for android-arm64 and copied to assets"

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
        emulated = architecture == "arm64"
        libraries = self._unpacked / "lib/arm64-v8a" if emulated else None
        java = android_libraries.prepare(self._inputs, architecture, self._work / f"java-{architecture}", libraries)
        models = {model.stem: model for model in self._models}
        models |= {f"{demo_models.FLEET}/{model.stem}": model for model in self._tasks}
        rows = self._rows()
        expected = {name: demo_models.eager_answers(model, rows) for name, model in models.items()}
        if emulated:
            chosen = _telling(expected, len(rows))
            rows = [rows[i] for i in chosen]
            expected = {name: [answers[i] for i in chosen] for name, answers in expected.items()}
        lines, results = self._work / "sentences.jsonl", self._work / f"classified-{architecture}.txt"
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        scratch = self._work / f"programs-{architecture}"
        scratch.mkdir(exist_ok=True)
        bundles = self._unpacked / "assets/bundles"
        said = java.run(self._dex, "Classify", bundles, scratch, lines, results).split()
        loaded, machine = int(said[-2]), said[-1]
        if loaded != len(self._models) + 1:
            raise RuntimeError(f"{loaded} programs were loaded: tasks of one backbone did not answer from one program")
        answers = _answers(results)
        if answers.keys() != models.keys():
            raise RuntimeError(f"answers of {sorted(answers)}, for {sorted(models)}")
        worst, which = max((_worst_difference(name, rows, expected[name], answers[name]), name) for name in models)
        if worst > LARGEST_DIFFERENCE:
            raise RuntimeError(f"a probability of `{which}` differs from eager's by {worst:.2g}")
        count = f"{len(rows) * len(models)} answers by {len(models)} tasks from {loaded} programs"
        return f"{count} on {machine}, eager's labels on all, largest difference {worst:.1g}"

    def _rows(self) -> list[list[str]]:
        """A text that is longer than a program takes, a short one, texts of every model in turn, pairs of texts."""
        rows = [[text] for text in self._sentences[:: max(1, len(self._sentences) // CLASSIFIED)][:CLASSIFIED]]
        pairs = [[first[0], second[0]] for first, second in zip(rows[:8], rows[8:16], strict=True)]
        return [["word " * 2000], ["!"], pairs[0], *rows, *pairs[1:]]


def _telling(expected: dict[str, list[dict[str, float]]], count: int) -> list[int]:
    """Which rows to ask an emulated machine, where an answer takes seconds: the odd ones in front, and then as few as
    bring every task two labels.
    """
    chosen, seen = [0, 1, 2], {name: {_likeliest(answers[i]) for i in (0, 1, 2)} for name, answers in expected.items()}
    for i in range(3, count):
        wanting = [name for name in expected if len(seen[name]) < 2]
        if any(_likeliest(expected[name][i]) not in seen[name] for name in wanting):
            chosen.append(i)
            for name, answers in expected.items():
                seen[name].add(_likeliest(answers[i]))
    return chosen


def _likeliest(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=probabilities.__getitem__)


def _answers(results: Path) -> dict[str, list[dict[str, float]]]:
    """Of every task, for every text its labels with their probabilities, the likeliest first."""
    answers: dict[str, list[dict[str, float]]] = {}
    for line in results.read_text(encoding="utf-8").splitlines():
        name, *pairs = line.split("\t")
        answers.setdefault(name, []).append(dict(zip(pairs[::2], map(float, pairs[1::2]), strict=True)))
    return answers


def _worst_difference(
    name: str, rows: list[list[str]], expected: list[dict[str, float]], got: list[dict[str, float]]
) -> float:
    """The largest difference of a probability from eager's. Raises where a label is another, or is always the same."""
    if len(got) != len(rows):
        raise RuntimeError(f"{len(got)} answers of `{name}` for {len(rows)} texts")
    worst, seen = 0.0, set()
    for row, eager, scores in zip(rows, expected, got, strict=True):
        label = _likeliest(eager)
        if next(iter(scores)) != label:
            raise RuntimeError(f"`{row[0][:60]}` is `{next(iter(scores))}` there and `{label}` in eager")
        worst = max(worst, *(abs(probability - scores[each]) for each, probability in eager.items()))
        seen.add(label)
    if len(seen) < 2:
        raise RuntimeError(f"`{name}` gave every text the same label: nothing was shown")
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks of the Android demo without an Android SDK.")
    parser.add_argument("--texts", type=int, default=10_000, help="texts that the tokenizers are compared on")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a trained model; may be repeated")
    parser.add_argument("--task", type=Path, action="append", default=[], help="one of several over one backbone")
    parser.add_argument("--work", type=Path, help="a folder to keep what is made")
    given = parser.parse_args()
    hush()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        try:
            checks = Checks(work, given.texts, given.model, given.task)
            checks.run()
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
        print(f"{checks.passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
