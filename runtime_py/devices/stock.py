"""This machine with stock runtimes only: a process that has torch and executorch, and nothing of this project.

Runs TorchScript programs, and proves that a portable `.pte` needs no operator of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import MANIFEST, open_bundle
from spartanc.runtime_py.devices.device import Device, DeviceError, Place, Row, device_errors
from spartanc.runtime_py.safetensors_file import read_tensors, write_tensors
from spartanc.runtime_py.session import pad

# Prints a JSON line that names what was loaded there besides the stock packages.
_PROCESS = """
import json, sys, torch
from safetensors.torch import load_file, save_file
program, inputs, outputs, threads = sys.argv[1:]
if int(threads):
    torch.set_num_threads(int(threads))
if program.endswith(".pte"):
    from executorch.runtime import Runtime
    method = Runtime.get().load_program(program).load_method("forward")
    forward = lambda *row: method.execute(row)[0]
else:
    forward = torch.jit.load(program)
given, results = load_file(inputs), {}
shared = [given[f"input.{i}"] for i in range(sum(name.startswith("input.") for name in given))]
with torch.inference_mode():
    for i in range(sum(name.endswith(".ids") for name in given)):
        results[str(i)] = forward(given[f"{i}.ids"], given[f"{i}.mask"], *shared)[0].clone()
save_file(results, outputs)
ours = [name for name in sys.modules if name.split(".")[0] == "spartanc"]
ours += [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("spartan::")]
print(json.dumps({"ours": ours}))
"""


class StockDevice(Device):
    """Runs each row as it stands, padding included; one that a bundle's program would not take is padded."""

    name = "local"

    @contextmanager
    def place(self, bundle: Path) -> Iterator[Place]:
        raise UsageError("stock runtimes carry no `spartan` command, so this works on the program alone")
        yield  # a generator, as the protocol asks

    def run(
        self,
        bundle: Path,
        program: Path,
        rows: Sequence[Row],
        *,
        threads: int | None = None,
        keep_padding: bool = False,
        inputs: Mapping[str, np.ndarray] | None = None,
        weight_cache: bool = False,
        task: str | Path | None = None,
    ) -> list[np.ndarray]:
        if task is not None:
            raise UsageError("stock runtimes check no task; give its tensors as `inputs`")
        sealed = open_bundle(bundle) if program.parent == bundle and (bundle / MANIFEST).is_file() else None
        probe = None if sealed is None or sealed.is_fleet else sealed.probe
        if probe is not None:
            rows = [(probe.input_ids, probe.attention_mask), *rows]
        if sealed is not None:
            rows = [pad(*row, sealed.min_length) for row in rows]
        tensors = {f"input.{i}": np.asarray(each) for i, each in enumerate((inputs or {}).values())}
        for i, (ids, mask) in enumerate(rows):
            tensors |= {f"{i}.ids": ids, f"{i}.mask": mask}
        with device_errors("local"), TemporaryDirectory(prefix="spartanc-") as scratch:
            given, results = Path(scratch) / "given.safetensors", Path(scratch) / "results.safetensors"
            write_tensors(given, tensors)
            arguments = [str(program.absolute()), str(given), str(results), str(threads or 0)]
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _PROCESS, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                cwd=scratch,
            )
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
                raise DeviceError(f"a process with stock runtimes could not run `{program.name}`: {last}")
            ours = json.loads(done.stdout.strip().splitlines()[-1])["ours"]
            if ours:
                raise AssertionError(f"the process that was to be stock has `{ours[0]}` loaded")
            found = read_tensors(results)
        answers = [found[str(i)] for i in range(len(rows))]
        if probe is None:
            return answers
        wrong = probe.misses(answers[0])
        if wrong is not None:
            raise UsageError(f"bundle `{bundle}`: {wrong}")
        return answers[1:]
