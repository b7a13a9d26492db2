"""Instruction words to text to cycles: canned blocks whose cycles follow from the cores' published throughput."""

import pytest

from spartanc.runtime_py.board_model.assembly import disassemble, straight, words_of
from spartanc.runtime_py.board_model.blocks import Place, Work
from spartanc.runtime_py.board_model.cycles import Cycles, Divisions, cycles_of, divisions_in, run_mca
from spartanc.runtime_py.board_model.hot_loops import hot_functions, multiply_adds
from spartanc.runtime_py.board_model.parameters import find_board
from spartanc.runtime_py.board_model.timing import with_cycles
from spartanc.runtime_py.board_model.tools import missing_packages

needs_tools = pytest.mark.skipif(bool(missing_packages()), reason=f"missing: {missing_packages()}")
NOP, RET, FDIV, FMLA = "d503201f", "d65f03c0", "6e22fc20", "4e22cc20"  # fdiv v0.4s, v1.4s, v2.4s; fmla likewise
PAUSED = Divisions(fast=8.0, slow=40.0)


@needs_tools
def test_words_are_disassembled_each_by_itself():
    text = disassemble([NOP, RET, FDIV, FMLA, "ffffffff"])
    assert text[NOP] == "nop"
    assert text[RET] == "ret"
    assert text[FDIV] == "fdiv v0.4s, v1.4s, v2.4s"
    assert text[FMLA] == "fmla v0.4s, v1.4s, v2.4s"
    assert text["ffffffff"] == "nop"  # no instruction at all
    assert disassemble([]) == {}


def test_code_is_split_into_words():
    assert words_of(NOP + RET) == [NOP, RET]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("str q0, [x1], #16", ["str q0, [x1]", "add x1, x1, #16"]),
        ("st1 { v0.16b }, [x1], x2", ["st1 { v0.16b }, [x1]", "add x1, x1, x2"]),
        ("str q0, [sp, #-32]!", ["sub sp, sp, #32", "str q0, [sp]"]),
        ("stp q0, q1, [x2], #-32", ["stp q0, q1, [x2]", "sub x2, x2, #32"]),
        ("ldr q0, [x1], #16", ["ldr q0, [x1], #16"]),
        ("str q0, [x1, #16]", ["str q0, [x1, #16]"]),
        ("b.ne #-40", ["b #4"]),
        ("cbz x0, #16", ["b #4"]),
        ("bl #1024", ["b #4"]),
        ("ret", ["b #4"]),
        ("bic v0.16b, v1.16b, v2.16b", ["bic v0.16b, v1.16b, v2.16b"]),
        ("bsl v0.16b, v1.16b, v2.16b", ["bsl v0.16b, v1.16b, v2.16b"]),
        ("svc #0", ["nop"]),
        ("dmb ish", ["nop"]),
    ],
)
def test_a_store_is_parted_from_its_step_and_jumps_stay_inside(text, seen):
    assert straight(text) == seen


@needs_tools
@pytest.mark.parametrize(
    ("core", "independent", "cycles"),
    [
        # Eight products of 128 bits into eight sums: one a cycle on an A72, two on a Neoverse N1.
        ("cortex-a72", [f"fmla v{i}.4s, v30.4s, v31.4s" for i in range(16)], 16.0),
        ("neoverse-n1", [f"fmla v{i}.4s, v30.4s, v31.4s" for i in range(16)], 8.0),
        ("neoverse-n1", [f"sdot v{i}.4s, v30.16b, v31.16b" for i in range(16)], 8.0),
        ("cortex-a72", [f"smlal v{i}.8h, v30.8b, v31.8b" for i in range(16)], 16.0),
        # The divider is busy for as long as LLVM's tables have it.
        ("cortex-a72", ["fdiv v0.4s, v1.4s, v2.4s"], 34.0),
        ("neoverse-n1", ["fdiv v0.4s, v1.4s, v2.4s"], 7.0),
    ],
)
def test_a_block_takes_what_its_unit_allows(core, independent, cycles):
    assert run_mca([independent], core)[0] == pytest.approx(cycles, rel=0.12)


@needs_tools
def test_a_stored_stream_does_not_wait_for_its_own_data():
    # A chain of additions that ends in a store with a step: the next turn's address must not wait for the sum.
    body = ["fadd v0.4s, v1.4s, v2.4s", "fmul v0.4s, v0.4s, v3.4s", "str q0, [x0], #16"]
    assert run_mca([body], "cortex-a72")[0] < 4


@needs_tools
def test_blocks_that_divide_have_a_band_and_others_none():
    dividing, plain = Place("a", 0, FDIV + NOP), Place("a", 8, FMLA)
    found = cycles_of({dividing: Work(10), plain: Work(10)}, "cortex-a72", PAUSED)
    assert found[dividing].fast == pytest.approx(8.0)
    assert found[dividing].modelled == pytest.approx(34.0, rel=0.05)
    assert found[dividing].slow == 40.0
    assert found[plain].fast == found[plain].modelled == found[plain].slow


@needs_tools
def test_rare_blocks_get_the_mean_of_the_rest():
    loop, rare = Place("a", 0, FMLA), Place("b", 0, NOP * 3)
    found = cycles_of({loop: Work(1e6), rare: Work(1)}, "cortex-a72", PAUSED)
    assert found[rare].modelled == pytest.approx(3 * found[loop].modelled)


def test_divisions_are_counted_by_their_width():
    body = ["fdiv v0.4s, v1.4s, v2.4s", "fsqrt v0.4s, v1.4s", "fdiv s0, s1, s2", "fmul v0.4s, v1.4s, v2.4s"]
    assert divisions_in(body) == 2.25


def test_memory_is_added_or_overlapped_as_the_board_says():
    place = Place("a", 0, NOP)
    work = {place: Work(1000, (50.0, 20.0, 5.0))}
    cycles = {place: Cycles(modelled=18.0, fast=9.0, slow=36.0)}
    four, five = (with_cycles(work, cycles, find_board(name)) for name in ("rpi4", "rpi5"))
    # 18,000 cycles at 1.8 GHz, and 20 lines of 64 bytes at 4 GB/s.
    assert four.ms == pytest.approx(0.010 + 20 * 64 / 4e6)
    assert four.bytes_from_memory == 20 * 64
    # 18,000 cycles at 2.4 GHz; 5 lines at 8 GB/s take less, and are hidden.
    assert five.ms == pytest.approx(0.0075)
    assert (five.fast_ms, five.slow_ms) == (pytest.approx(0.00375), pytest.approx(0.015))
    assert five.all_cores_ms_at_least == pytest.approx(0.0075 / 4)
    assert five.instructions == 1000


@pytest.mark.parametrize(
    ("text", "fp32", "int8"),
    [
        ("fmla v0.4s, v1.4s, v2.s[0]", 4, 0),
        ("smlal2 v0.8h, v1.16b, v2.16b", 0, 8),
        ("smull v0.8h, v1.8b, v2.8b", 0, 8),
        ("sdot v0.4s, v1.16b, v2.4b[1]", 0, 16),
        ("smmla v0.4s, v1.16b, v2.16b", 0, 32),
        ("fmadd s0, s1, s2, s3", 1, 0),
        ("fmul v0.4s, v1.4s, v2.4s", 0, 0),
    ],
)
def test_multiply_adds_count_lanes_and_products(text, fp32, int8):
    assert multiply_adds([text]) == {"fp32": fp32, "int8": int8}


@needs_tools
def test_a_profile_names_functions_by_share_with_their_loops():
    loop, other = Place("lib", 16, FMLA * 4), Place("lib", 4096, NOP)
    counts = {loop: Work(1000), other: Work(900)}
    cycles = {loop: Cycles(4.0, 4.0, 4.0), other: Cycles(1.0, 1.0, 1.0)}
    named = {16: "gemm", 4096: "copy"}
    first, second = hot_functions(counts, cycles, find_board("rpi4"), lambda _, offset: named[offset])
    assert (first.name, second.name) == ("gemm", "copy")
    assert first.share == pytest.approx(4000 / 4900)
    assert (first.loops[0].macs_per_cycle, first.loops[0].limit) == (4.0, 4)
    assert second.loops[0].macs_per_cycle == 0
