"""What is altered, how, and what must become of it.

Every kind has a corpus of a few small sound files, made here. `try_one` alters one, opens it as a user's program would,
and says what happened:

    refused     a clear error
    same        it was taken, and answers as the sound one does
    other       it was taken, and answers otherwise
    died alone  a process apart ended by a signal; the calling process went on

Anything else (an exception that is no SpartancError, the end of the calling process, more than ten seconds) is a
failure. A *raw* change leaves digests as they were: `other` is a failure too. A *resealed* one recomputes all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from spartanc.errors import SpartancError
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import manifest_digest_line, open_bundle
from spartanc.runtime_py.safetensors_file import write_tensors
from spartanc.runtime_py.task_types.regression import REGRESSION
from support import tasks
from support.bundles import make_bundle
from support.mutations import mutate_bytes, mutate_json, mutate_zip

SECONDS = 10  # for one file
IDS = [[3, 1, 4, 1, 5]]


class Kind(ABC):
    """One sort of file. A worker process makes it once and then tries many altered files in `folder`."""

    name: str
    more_raw = 0  # raw changes beyond the number that was asked for
    resealable = True
    thorough = False  # set by the campaign: the native command judges what it sees a part of otherwise
    raw_may_differ = False  # formats without a digest: an altered file that is sound is another file

    def __init__(self, folder: Path):
        self.folder = folder

    @abstractmethod
    def try_one(self, generator: np.random.Generator, sealed: bool, number: int) -> str:
        """Make one change, open what came of it, say what happened."""


def refused(error: SpartancError, *codes: int) -> str:
    assert error.exit_code in (codes or (2,)), error
    return "refused"


def outcome_of(done: subprocess.CompletedProcess, same: bytes | None) -> str:
    if done.returncode < 0:
        return f"died alone ({-done.returncode})"
    if done.returncode == 2 or (done.returncode in (1, 5) and done.stderr.startswith(b"error: ")):
        return "refused"
    if done.returncode == 0:
        return "same" if done.stdout == same else "other"
    raise AssertionError(f"exit {done.returncode}: {done.stderr.decode(errors='replace')}")


class _Bundles(Kind):
    """A bundle of a small program; `file` is what is altered."""

    file: str
    native_every = 1  # of raw changes the native command sees one in so many: a process each

    def __init__(self, folder: Path):
        super().__init__(folder)
        from support.programs import export_tiny

        export_tiny(folder / "tiny.pte")
        self.sound = make_bundle(folder / "sound", folder / "tiny.pte")
        self.bundle = folder / "bundle"
        shutil.copytree(self.sound, self.bundle)
        write_tensors(
            folder / "ids.safetensors", {"input_ids": np.array(IDS), "attention_mask": np.ones((1, 5), np.int64)}
        )
        self.command = build_runtime("host") / COMMAND
        self.answer = self.run_native().stdout
        assert self.answer, "the sound bundle gives no answer"

    def run_native(self) -> subprocess.CompletedProcess:
        command = [self.command, "run", self.bundle, "--ids", self.folder / "ids.safetensors", "--threads", "1"]
        return subprocess.run(command, capture_output=True, timeout=SECONDS)

    def native(self) -> str:
        return outcome_of(self.run_native(), self.answer)

    def python(self) -> str:
        try:
            bundle = open_bundle(self.bundle)
            bundle.tokenizer, bundle.labels, bundle.for_task(REGRESSION, []), bundle.quantization, bundle.target
            if not bundle.is_fleet:
                bundle.probe  # noqa: B018
        except SpartancError as error:
            return refused(error)
        same = bundle.manifest == json.loads((self.sound / "manifest.json").read_text())
        return "same" if same and bundle.program.read_bytes() == (self.sound / "model.pte").read_bytes() else "other"

    def seal(self) -> None:
        """All digests as they ought to be for what stands there."""
        path = self.bundle / "manifest.json"
        if self.file != "manifest.json":
            manifest = json.loads(path.read_text())
            for name in manifest["files"]:
                data = (self.bundle / name).read_bytes()
                manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            path.write_text(json.dumps(manifest))
        (self.bundle / "manifest.sha256").write_text(
            manifest_digest_line(hashlib.sha256(path.read_bytes()).hexdigest())
        )

    def try_one(self, generator: np.random.Generator, sealed: bool, number: int) -> str:
        data = (self.sound / self.file).read_bytes()
        (self.bundle / self.file).write_bytes(self.change(data, generator, sealed))
        try:
            if not sealed:
                found = self.python()
                if found != "refused" or number % self.native_every == 0:
                    theirs = self.native()
                    assert (found == "refused") == (theirs == "refused"), f"Python: {found}, native: {theirs}"
                return found
            self.seal()
            found, theirs = self.python(), self.native()
            return found if found == "refused" and theirs != "refused" else theirs
        finally:
            for file in self.sound.iterdir():
                shutil.copyfile(file, self.bundle / file.name)

    def change(self, data: bytes, generator: np.random.Generator, sealed: bool) -> bytes:
        return mutate_bytes(data, generator)


class Manifests(_Bundles):
    name, file, native_every = "manifest.json", "manifest.json", 20

    def change(self, data: bytes, generator: np.random.Generator, sealed: bool) -> bytes:
        if sealed and generator.random() < 0.8:
            return mutate_json(data, generator)
        return mutate_bytes(data, generator)


class Programs(_Bundles):
    name, file, native_every = "model.pte", "model.pte", 20

    def change(self, data: bytes, generator: np.random.Generator, sealed: bool) -> bytes:
        if sealed and generator.random() < 0.7:  # the part that a loader interprets; what follows are weights
            size = struct.unpack_from("<Q", data, 16)[0] if data[8:12] == b"eh00" else len(data)
            return mutate_bytes(data[:size], generator) + data[size:]
        return mutate_bytes(data, generator)


class SingleBytes(_Bundles):
    """Every byte of a manifest and of a task's header in turn, then random bytes of programs and tensors: one changed
    bit each, which both readers must refuse. In a campaign the native command sees every byte of the first kind, in
    tests one in twenty.
    """

    name, file, native_every, resealable = "single bytes", "manifest.json", 20, False
    more_raw = 4096

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.task = tasks.write(folder / "task.safetensors").read_bytes()
        self.header = 8 + struct.unpack_from("<Q", self.task)[0]
        self.whole = {name: (self.sound / name).read_bytes() for name in ("manifest.json", "model.pte")}
        assert len(self.whole["manifest.json"]) + self.header < self.more_raw
        # No program that could run these tasks; a task is read and refused before the program is.
        fields = {"problem": "fleet", "labels": [], "max_length": 32, "fleet": tasks.MANIFEST["fleet"]}
        self.fleet = make_bundle(folder / "fleet", folder / "tiny.pte", **fields)
        assert b"task file" not in self.native_task(folder / "task.safetensors").stderr

    def try_one(self, generator: np.random.Generator, sealed: bool, number: int) -> str:
        manifest = len(self.whole["manifest.json"])
        in_turn = number < manifest + self.header
        native = number % (1 if in_turn and self.thorough else self.native_every) == 0
        if number < manifest:
            return self.flip_file("manifest.json", number, generator, native)
        if in_turn:
            return self.flip_task(number - manifest, generator, native)
        if generator.random() < 0.5:
            return self.flip_task(int(generator.integers(self.header, len(self.task))), generator, native)
        return self.flip_file("model.pte", int(generator.integers(len(self.whole["model.pte"]))), generator, native)

    def native_task(self, path: Path) -> subprocess.CompletedProcess:
        command = [self.command, "run", self.fleet, "--task", path, "--ids", self.folder / "ids.safetensors"]
        return subprocess.run([*command, "--threads", "1"], capture_output=True, timeout=SECONDS)

    def flip_file(self, name: str, position: int, generator: np.random.Generator, native: bool) -> str:
        changed = bytearray(self.whole[name])
        changed[position] ^= 1 << int(generator.integers(8))
        (self.bundle / name).write_bytes(changed)
        try:
            found = self.python()
            if native:
                assert self.native() == found, f"Python: {found}"
            return found
        finally:
            (self.bundle / name).write_bytes(self.whole[name])

    def flip_task(self, position: int, generator: np.random.Generator, native: bool) -> str:
        from spartanc.runtime_py.task_file import open_task

        changed = bytearray(self.task)
        changed[position] ^= 1 << int(generator.integers(8))
        path = self.folder / "changed.safetensors"
        path.write_bytes(changed)
        if native:
            done = self.native_task(path)
            assert done.returncode == 2, done.returncode
            assert b"task file" in done.stderr, done.stderr
        try:
            open_task(path)
        except SpartancError as error:
            return refused(error)
        return "other"


class Tokenizers(Kind):
    """tokenizer.json: raw, as a file of a bundle; resealed, as what an encoder is made of."""

    name = "tokenizer.json"

    def __init__(self, folder: Path):
        super().__init__(folder)
        from support.artifacts import write_bundle
        from support.models import tiny_tokenizer

        self.text = tiny_tokenizer().encode()
        self.bundle = write_bundle(folder / "bundle")
        (self.bundle / "tokenizer.json").write_bytes(self.text)
        manifest = json.loads((self.bundle / "manifest.json").read_text())
        manifest["files"]["tokenizer.json"] = {
            "sha256": hashlib.sha256(self.text).hexdigest(),
            "bytes": len(self.text),
        }
        (self.bundle / "manifest.json").write_text(json.dumps(manifest))
        digest = hashlib.sha256((self.bundle / "manifest.json").read_bytes()).hexdigest()
        (self.bundle / "manifest.sha256").write_text(manifest_digest_line(digest))
        open_bundle(self.bundle)
        self.expected = self.encoded(self.text.decode())

    @staticmethod
    def encoded(text: str) -> list[list[int]]:
        from spartanc.runtime_py.text import TextEncoder

        encoder = TextEncoder(text, 16)
        return [
            encoder.encode(*texts).ids for texts in (("where is the card",), ("a good film", "who was born"), ("é\0",))
        ]

    def try_one(self, generator: np.random.Generator, sealed: bool, number: int) -> str:
        if not sealed:
            (self.bundle / "tokenizer.json").write_bytes(mutate_bytes(self.text, generator))
            try:
                open_bundle(self.bundle)
            except SpartancError:
                return "refused"
            return "other"
        change = mutate_json if generator.random() < 0.7 else mutate_bytes
        try:
            text = change(self.text, generator).decode()
        except UnicodeDecodeError:
            return "refused"
        try:
            return "same" if self.encoded(text) == self.expected else "other"
        except SpartancError:
            return "refused"


class DataFiles(Kind):
    """Rows as JSON lines and CSV. They have no digest: what is sound after a change is other data."""

    name, raw_may_differ = "data files", True
    rows = (
        b'{"text": "a good film", "label": "yes"}\n{"text": "bad", "text_pair": "dull", "label": "no"}\n'
        b'{"text": "\\u00e9t\\u00e9 \\ud83d\\ude00", "label": 1}\n',
        b'text,text_pair,label\n"a, ""good"" film",x,yes\nbad,,no\n"two\nlines",y,no\n',
    )

    def try_one(self, generator: np.random.Generator, sealed: bool, number: int) -> str:
        from spartanc.runtime_py.data import read_examples

        which = number % 2
        path = self.folder / f"rows.{('jsonl', 'csv')[which]}"
        path.write_bytes(self.rows[which])
        sound = read_examples(path)
        path.write_bytes(mutate_bytes(self.rows[which], generator))
        try:
            return "same" if read_examples(path) == sound else "other"
        except SpartancError as error:
            return refused(error)


class _Models(Kind):
    def __init__(self, folder: Path):
        super().__init__(folder)
        import torch

        torch.set_num_threads(1)
        self.row = torch.tensor(IDS)
        self.expected = None
        self.expected = self.load(self.make())

    @abstractmethod
    def make(self) -> Path:
        """Write the sound model."""

    def load(self, path: Path) -> str:
        import torch

        from spartanc.models.checkpoint import load_model

        try:
            model = load_model(path)
        except SpartancError as error:
            return refused(error, 2, 3)
        facts = (model.labels, model.problem, model.tokenizer, model.eval_examples, model.spartan)
        state = {name: value.numpy().tobytes() for name, value in model.module.state_dict().items()}
        if self.expected is None:
            self.facts, self.state = facts, state
        same = facts == self.facts and state == self.state
        if not same:
            try:
                with torch.inference_mode():
                    model.module(self.row, torch.ones_like(self.row))
            except (IndexError, ValueError, RuntimeError):
                return "refused"  # torch's own error on values that do not fit: `compile` proves before it writes
        return "same" if same else "other"


class ModelFiles(_Models):
    name = "model.pt"

    def make(self) -> Path:
        from spartanc.models.checkpoint import save_model
        from spartanc.runtime_py.data import Example
        from support.models import tiny_model

        model = tiny_model(layers=1, hidden=16)
        model.eval_examples = (Example("a good film"), Example("where is the card"))
        path = self.folder / "model.pt"
        save_model(model, path)
        self.data = path.read_bytes()
        return path

    def try_one(self, generator: np.random.Generator, sealed: bool, number: int) -> str:
        path = self.folder / "changed.pt"
        path.write_bytes((mutate_zip if sealed else mutate_bytes)(self.data, generator))
        return self.load(path)


class Checkpoints(_Models):
    """A directory of the original implementation: config.json and weights. Raw changes go to pytorch_model.bin, whose
    archive has checksums; config.json and safetensors have none, and are altered with the resealed ones.
    """

    name = "original checkpoints"

    def make(self) -> Path:
        golden = Path(__file__).parents[1] / "golden" / "roberta-v1"
        self.directory = self.folder / "checkpoint"
        shutil.copytree(golden, self.directory)
        self.files = {file.name: file.read_bytes() for file in self.directory.iterdir() if file.is_file()}
        return self.directory

    def try_one(self, generator: np.random.Generator, sealed: bool, number: int) -> str:
        weights = next(name for name in ("model.safetensors", "pytorch_model.bin") if name in self.files)
        name = "config.json" if sealed and number % 3 == 0 else weights
        data = self.files[name]
        if name == "config.json":
            changed = mutate_json(data, generator)
        elif sealed and name.endswith(".bin"):
            changed = mutate_zip(data, generator)
        else:
            changed = mutate_bytes(data, generator)
        (self.directory / name).write_bytes(changed)
        try:
            return self.load(self.directory)
        finally:
            (self.directory / name).write_bytes(data)


class TaskFiles(Kind):
    """Task files, dense and sparse, in themselves and against their fleets.

    The native reader's part is benchmarks/mutate_tasks.py's.
    """

    name = "task files"

    def __init__(self, folder: Path):
        super().__init__(folder)
        from spartanc.runtime_py.task_file import read_interface

        given = ((tasks.tensors(), tasks.MANIFEST), (tasks.sparse_tensors(), tasks.SPARSE_MANIFEST))
        self.sound = [
            (tasks.write(folder / "task.safetensors", tensors).read_bytes(), read_interface(manifest, "fleet"))
            for tensors, manifest in given
        ]

    def try_one(self, generator: np.random.Generator, sealed: bool, number: int) -> str:
        from spartanc.runtime_py.task_file import check_task, open_task

        path = self.folder / "changed.safetensors"
        path.unlink(missing_ok=True)
        data, interface = self.sound[number // 2 % 2]
        path.write_bytes(tasks.mutate(data, generator, sealed))
        try:
            check_task(open_task(path), interface)
        except SpartancError as error:
            return refused(error)
        return "other"


KINDS = {
    kind.name: kind
    for kind in (SingleBytes, Manifests, Programs, TaskFiles, Tokenizers, DataFiles, ModelFiles, Checkpoints)
}


def quiet() -> None:
    """Libraries that log on broken input would fill the disk in a long campaign."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
