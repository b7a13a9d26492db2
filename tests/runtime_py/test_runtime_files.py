"""What a board gets, read instruction by instruction.

Our own files hold Armv8.0-A with NEON and nothing else, outside functions that are chosen at run time and named for it.
ExecuTorch's libraries choose many of XNNPACK's functions at run time, which no disassembly can follow: there the
emulated Cortex-A53 and A72 speak, which lack dot products, half precision and atomics and end a program that uses
them (tests/runtime_py/test_devices.py, and the golden models). But they run crypto instructions, which a Raspberry
Pi 4 lacks: so of those there must be none at all.
"""

import platform
import re
import shutil

import pytest

from spartanc.base.targets.catalogue import all_targets
from spartanc.runtime_py.build import COMMAND, LIBRARY, OPERATORS, board_runtime_files
from spartanc.runtime_py.setup_target import is_ready
from support.arm import LLVM_MC, OBJDUMP, beyond_base, dynamic, instructions, newest_version

pytestmark = [
    pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run"),
    pytest.mark.skipif(not all(map(shutil.which, (LLVM_MC, OBJDUMP))), reason="llvm or binutils is missing"),
]
OURS = (COMMAND, LIBRARY, OPERATORS)
CHOSEN_AT_RUN_TIME = re.compile("dotprod|fp16|__aarch64_(cas|swp|ldadd|ldclr|ldset|ldeor)")  # ours; GCC's atomics
CRYPTO = re.compile(r"^(aes(e|d|mc|imc)|sha(1|256|512).*|crc32.*|sm[34].*|pmull2?)$")
SYSTEM_LIBRARIES = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1",
                    "libstdc++.so.6", "ld-linux-aarch64.so.1"}  # fmt: skip
GLIBCXX_OF_DEBIAN_12 = (3, 4, 30)


@pytest.fixture(scope="module")
def files():
    return board_runtime_files("rpi4")


@pytest.mark.parametrize("name", OURS)
def test_our_files_hold_the_base_instructions_only(files, name):
    beyond = beyond_base(instructions(files[name]))
    outside = {
        mnemonic: functions
        for mnemonic, all_functions in beyond.items()
        if (functions := {each for each in all_functions if not CHOSEN_AT_RUN_TIME.search(each)})
    }
    assert outside == {}


def test_the_decoder_knows_what_is_beyond_the_base():
    """sdot, aese, ldadd and an fp16 fadd are found; add, fmla and ldr are not."""
    samples = {
        ("4e829420", "sdot"): {"f"},
        ("4e284820", "aese"): {"f"},
        ("b8210002", "ldadd"): {"f"},
        ("1ee22820", "fadd"): {"f"},
        ("8b020020", "add"): {"f"},
        ("4e22cc20", "fmla"): {"f"},
        ("f9400020", "ldr"): {"f"},
    }
    assert set(beyond_base(samples)) == {"sdot", "aese", "ldadd", "fadd"}


def test_no_file_holds_crypto_instructions(files):
    for path in files.values():
        # pmull on bytes (.8h) is NEON; on doublewords (.1q) it is crypto, which the decoder tells apart.
        found = beyond_base(instructions(path))
        assert {mnemonic for mnemonic in found if CRYPTO.match(mnemonic)} == set(), path.name


def test_symbols_are_no_newer_than_the_oldest_c_library(files):
    oldest = [target.oldest_glibc for target in all_targets() if target.oldest_glibc is not None]
    assert oldest
    for path in files.values():
        assert newest_version(path, "GLIBC") <= min(oldest), path.name
        assert newest_version(path, "GLIBCXX") <= GLIBCXX_OF_DEBIAN_12, path.name
    assert newest_version(files[LIBRARY], "GLIBC") > (2,)


def test_every_needed_library_comes_along_or_is_of_the_system(files):
    for path in files.values():
        assert set(dynamic(path, "NEEDED")) <= set(files) | SYSTEM_LIBRARIES, path.name
    assert OPERATORS in dynamic(files[LIBRARY], "NEEDED")


@pytest.mark.parametrize("name", OURS)
def test_our_files_look_beside_themselves_and_name_no_path_of_this_machine(files, name):
    assert dynamic(files[name], "RUNPATH") == ["$ORIGIN"]
    data = files[name].read_bytes()
    assert str(files[name].parent).encode() not in data
    assert b"/runtime_py/native/" not in data


def test_all_boards_share_one_runtime(files):
    for name in ("rpi3", "rpi5"):
        assert board_runtime_files(name) == files


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compares with an x86-64 build")
def test_the_host_runtime_can_be_copied_too():
    assert {COMMAND, LIBRARY, OPERATORS, "libexecutorch.so"} <= set(board_runtime_files("host"))
