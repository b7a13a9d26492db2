"""The fuzz campaigns: prints what became of every altered file, by kind, with seeds, as one table.

    python tests/fuzz/campaign.py [--raw 10000] [--resealed 2000] [--seed 2026] [--kind NAME]… [--json]

Each kind runs in a worker process of its own. A worker that ends, or is silent for more than ten seconds over one file,
is a failure that names the file by its number, if it happens twice; the campaign goes on behind it. Exits 1 if there
was any.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

SEED = 2026
SILENT = "no answer"
START_SECONDS = 600  # imports, corpora, and the native runtime where it is not built yet


def run_kind(kind: str, sealed: bool, count: int, seed: int) -> dict:
    """Try `count` altered files of `kind` in worker processes; counts of outcomes, and every failure."""
    found: Counter[str] = Counter()
    failures: list[str] = []
    number = 0
    while number < count and len(failures) < 20:
        done, failure = _run_worker(kind, sealed, number, count, seed, found)
        number += done
        if failure is not None and failure.startswith(SILENT):
            # A machine that stood still looks like a file that hangs; the file is asked once more.
            _, failure = _run_worker(kind, sealed, number, number + 1, seed, found)
            number += failure is None
        if failure is not None:
            failures.append(f"number {number} of seed {seed + sealed}: {failure}")
            number += 1
    return {"kind": kind, "resealed": sealed, "seed": seed + sealed, "tried": number, **found, "failures": failures}


def _run_worker(
    kind: str, sealed: bool, first: int, count: int, seed: int, found: Counter[str]
) -> tuple[int, str | None]:
    from kinds import SECONDS

    words = [sys.executable, __file__, "--worker", kind, str(int(sealed)), str(first), str(count), str(seed)]
    with tempfile.TemporaryFile() as said, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said) as worker:
        assert worker.stdout is not None
        selector = selectors.DefaultSelector()
        selector.register(worker.stdout, selectors.EVENT_READ)
        done, ready, patience = 0, False, START_SECONDS
        buffer = b""
        while True:
            if not selector.select(patience):
                worker.kill()
                return done, f"{SILENT} for {patience} s"
            data = os.read(worker.stdout.fileno(), 1 << 16)
            if not data:
                break
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                if not ready:
                    ready, patience = True, SECONDS + 2
                else:
                    outcome = line.decode()
                    if outcome.startswith("FAILED "):
                        worker.kill()
                        return done, outcome.removeprefix("FAILED ")
                    found[outcome] += 1
                    done += 1
        worker.wait()
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
        ended = worker.returncode != 0 or first + done < count
        return done, f"the process ended with {worker.returncode} {last}" if ended else None


def work(kind: str, sealed: bool, first: int, count: int, seed: int) -> None:
    from kinds import KINDS, SECONDS, quiet

    from support.mutations import generator_of

    quiet()
    with tempfile.TemporaryDirectory(prefix="spartanc-fuzz-") as folder:
        subject = KINDS[kind](Path(folder))
        subject.thorough = True
        out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # what libraries print is no outcome
        print("ready", file=out)
        for number in range(first, count):
            start = time.monotonic()
            try:
                outcome = subject.try_one(generator_of(seed + sealed, number), sealed, number)
            except BaseException as error:
                outcome = f"FAILED {type(error).__name__}: {str(error)[:300]!r}"
            if time.monotonic() - start > SECONDS:
                outcome = f"FAILED it took {time.monotonic() - start:.0f} s"
            elif outcome == "other" and not sealed and not subject.raw_may_differ:
                outcome = "FAILED it was taken, and answers otherwise"
            print(outcome, file=out)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        kind, sealed, first, count, seed = sys.argv[2:]
        work(kind, bool(int(sealed)), int(first), int(count), int(seed))
        return
    from kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=int, default=10_000)
    parser.add_argument("--resealed", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for kind in given.kind or KINDS:
        counts = [(False, given.raw + KINDS[kind].more_raw), (True, given.resealed if KINDS[kind].resealable else 0)]
        for sealed, count in [each for each in counts if each[1]]:
            start = time.monotonic()
            row = run_kind(kind, sealed, count, given.seed)
            rows.append(row | {"seconds": round(time.monotonic() - start)})
            if not given.json:
                counts = ", ".join(
                    f"{name} {row[name]}" for name in sorted(row) if name[0].islower() and name not in _OWN
                )
                print(f"{kind:22} {'resealed' if sealed else 'raw':9} {row['tried']:6}  {counts}", flush=True)
            for failure in row["failures"]:
                print(f"  FAILED {failure}", file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps(rows, indent=1))
    else:
        print(f"seeds: {given.seed} for raw changes, {given.seed + 1} for resealed ones")
    sys.exit(1 if any(row["failures"] for row in rows) else 0)


_OWN = ("kind", "resealed", "seed", "tried", "failures", "seconds")

if __name__ == "__main__":
    main()
