"""What the emulator's plugin counts: loops to the instruction, cache misses to the line, the same each time."""

import shutil
import subprocess
import sys

import pytest

from spartanc.base.toolchain import AARCH64
from spartanc.errors import CompileError
from spartanc.runtime_py.board_model.blocks import (
    ANONYMOUS,
    Place,
    Work,
    difference,
    executed_instructions,
    hottest,
    joined,
    read_counts,
)
from spartanc.runtime_py.board_model.counting import CacheLevel, Emulation
from spartanc.runtime_py.board_model.tools import missing_packages

needs_tools = pytest.mark.skipif(bool(missing_packages()), reason=f"missing: {missing_packages()}")
NOP, RET = "d503201f", "d65f03c0"

# Five instructions a turn and a load every 64 bytes, in the code itself so that no compiler changes them.
PROGRAM = r"""
#include <stdlib.h>
#include <unistd.h>
static char memory[1 << 20] __attribute__((aligned(64)));
static void walk(long lines) {
  char *at = memory;
  __asm__ volatile("1: ldr x3, [%0]\n add %0, %0, #64\n nop\n subs %1, %1, #1\n b.ne 1b"
                   : "+r"(at), "+r"(lines) : : "x3", "memory");
}
int main(int n, char **v) {
  long lines = atol(v[1]);
  getpgid(0x7fffff01);
  walk(lines);
  getpgid(0x7fffff02);
  walk(lines);
  if (n > 2) exit(3);
  getpgid(0x7fffff03);
  return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("aarch64-linux-gnu-gcc") or pytest.skip("no C cross compiler")
    folder = tmp_path_factory.mktemp("walk")
    (folder / "walk.c").write_text(PROGRAM)
    subprocess.run([compiler, "-O1", "-static", "-o", folder / "walk", folder / "walk.c"], check=True)
    return folder / "walk"


def loop_of(counts):
    """The walk's own block: the one that is executed most."""
    return max(counts.items(), key=lambda item: item[1].executions)


@pytest.mark.qemu
@needs_tools
def test_a_loop_is_counted_exactly_and_misses_what_does_not_fit(program):
    emulation = Emulation("cortex-a72", AARCH64.sysroot, (CacheLevel(32, 2), CacheLevel(512, 16)))
    fits, larger, largest = 256, 4096, 16384  # lines: half of L1, half of L2, twice L2
    for lines, misses in ((fits, (0, 0)), (larger, (larger, 0)), (largest, (largest, largest))):
        place, work = loop_of(emulation.run([program, str(lines)], marks=True))
        assert place.instructions == 5
        # The first turn is part of the block before the loop.
        assert work.executions == lines - 1
        assert work.misses[0] == pytest.approx(misses[0], abs=1)
        assert work.misses[1] == pytest.approx(misses[1], abs=1)


@pytest.mark.qemu
@needs_tools
def test_counting_twice_gives_the_same(program):
    emulation = Emulation("cortex-a76", AARCH64.sysroot, (CacheLevel(64, 4), CacheLevel(512, 8), CacheLevel(2048, 16)))
    one, two = (emulation.run([program, "3000"], marks=True) for _ in range(2))
    assert executed_instructions(one) == executed_instructions(two) > 15_000
    assert sum(work.misses[0] for work in one.values()) == sum(work.misses[0] for work in two.values())


@pytest.mark.qemu
@needs_tools
def test_a_program_that_fails_is_an_error(program):
    emulation = Emulation("cortex-a72", AARCH64.sysroot, (CacheLevel(32, 2),))
    with pytest.raises(CompileError, match="emulated run failed"):
        emulation.run([program, "10", "fail"])


def test_counts_know_the_file_that_a_block_stands_in(tmp_path):
    (tmp_path / "counts").write_text(
        "M 4000-6000 r-xp 00001000 08:01 12   /lib/libm.so\n"
        f"B 4010 7 3 2 0 {NOP}{RET}\n"
        f"B 9000 1 0 0 0 {RET}\n"
        f"B 4010 2 1 0 0 {NOP}{RET}\n"
    )
    counts = read_counts(tmp_path / "counts")
    assert counts[Place("/lib/libm.so", 0x1010, NOP + RET)] == Work(9, (4, 2, 0))
    assert counts[Place(ANONYMOUS, 0x9000, RET)] == Work(1)
    assert executed_instructions(counts) == 2 * 9 + 1


def test_a_difference_leaves_what_the_second_run_did_more():
    loop, start = Place("a", 0, NOP), Place("a", 4, RET)
    less = {loop: Work(10, (5, 1, 0)), start: Work(3)}
    more = {loop: Work(25, (7, 1, 0)), start: Work(3), Place("b", 0, RET): Work(1)}
    assert difference(more, less) == {loop: Work(15, (2, 0, 0)), Place("b", 0, RET): Work(1)}


def test_a_run_that_a_page_of_code_cuts_is_one_piece():
    # A loop from 0xff8 to 0x1004: its first turn comes from a block that begins before it.
    start, loop, rest = Place("a", 0xFF0, NOP * 4), Place("a", 0xFF8, NOP * 2), Place("a", 0x1000, NOP + RET)
    counts = {start: Work(2, (2, 0, 0)), loop: Work(18), rest: Work(20, (10, 0, 0)), Place("b", 0xFF8, NOP): Work(7)}
    whole = joined(counts)
    assert whole == {
        Place("a", 0xFF0, NOP * 5 + RET): Work(2, (3, 0, 0)),
        Place("a", 0xFF8, NOP * 3 + RET): Work(18, (9, 0, 0)),
        Place("b", 0xFF8, NOP): Work(7),
    }
    assert executed_instructions(whole) == executed_instructions(counts)
    assert sum(work.misses[0] for work in whole.values()) == 12


@pytest.mark.parametrize("branch", ["14000002", "97fffffe", "54ffffc1", "b5ffffc0", "36000040", RET])
def test_what_branches_at_the_end_of_a_page_ends_there(branch):
    counts = {Place("a", 0xFFC, branch): Work(5), Place("a", 0x1000, NOP + RET): Work(5)}
    assert joined(counts) == counts


def test_hottest_is_by_instructions_not_by_executions():
    long, short = Place("a", 0, NOP * 10), Place("a", 64, RET)
    assert [place for place, _ in hottest({short: Work(50), long: Work(6)})] == [long, short]


def test_this_python_runs_without_the_tools():
    # The model's modules are imported by `spartanc bench` on machines that have none of them.
    words = [sys.executable, "-c", "import spartanc.runtime_py.board_model.inference"]
    assert subprocess.run(words, env={"PATH": "/nonexistent", "PYTHONPATH": ":".join(sys.path)}).returncode == 0
