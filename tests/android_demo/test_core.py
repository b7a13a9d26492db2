"""The demo's core on this machine's JVM: its own checks, and its tokenizers against the tokenizers
library."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "android_demo" / "checks"))

import jvm  # noqa: E402
import parity  # noqa: E402
import texts  # noqa: E402

SUBSET = 700


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    core = jvm.compile_core(tmp_path_factory.mktemp("core"))
    drivers = [jvm.DRIVERS / "CoreTest.java", jvm.DRIVERS / "Encode.java"]
    return core, jvm.compile_against(drivers, [core], tmp_path_factory.mktemp("drivers"))


@pytest.fixture(scope="module")
def real():
    return texts.real_texts(ROOT)


@pytest.fixture(scope="module")
def named(real):
    return parity.tokenizers_to_try(real, {})


def encode_with(classes):
    def encode(definition, lines, results, max_length):
        jvm.java(classes, "Encode", definition, lines, results, str(max_length))

    return encode


def test_core_passes_its_own_checks(classes):
    said = jvm.java(classes, "CoreTest").strip().splitlines()[-1]
    passed, failed = (int(word) for word in said.split() if word.isdigit())
    assert failed == 0
    assert passed > 1000


def test_tokenizers_give_the_ids_of_the_library(classes, real, named, tmp_path):
    rows, wrong = parity.compare(encode_with(classes), texts.hard_texts(SUBSET, real), named, tmp_path, [128])
    assert wrong == []
    assert len(named) > 20
    assert rows > len(named) * SUBSET


def test_comparison_sees_a_difference(classes, real, named, tmp_path):
    """The library is given lower-casing BERT, the demo one that keeps case: they must disagree."""

    def encode(definition, lines, results, max_length):
        definition.write_text(named["bert-cased"], encoding="utf-8")
        encode_with(classes)(definition, lines, results, max_length)

    uncased = {"bert-uncased": named["bert-uncased"]}
    _, wrong = parity.compare(encode, texts.hard_texts(SUBSET, real), uncased, tmp_path, [48])
    assert wrong
