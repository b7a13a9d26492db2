"""The products of the Arm kernels keep their sums in registers, as their own build compiles them."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from arm_loops import KERNELS, products_of, sources, stores

from support.kernels import CROSS_COMPILER

pytestmark = pytest.mark.skipif(
    shutil.which(CROSS_COMPILER) is None, reason=f"no {CROSS_COMPILER} here (Debian: g++-aarch64-linux-gnu)"
)


def test_no_product_stores_its_sums_at_every_step():
    found = sources(CROSS_COMPILER)
    assert {source.file.relative_to(KERNELS) for source in found} == {
        path.relative_to(KERNELS) for path in KERNELS.rglob("*neon*.cc")
    }
    products = {source.name: products_of(source) for source in found}
    for name in ("attention/f32_neon", "memory_lookup/f32_neon", "memory_lookup/quantized_neon"):
        assert products[name], f"no product was found in {name}"
    for name in ("memory_lookup/quantized_neondot", "linear_int8/neonhalf", "attention/half_neonhalf"):
        assert products[name], f"no product was found in {name}"
    wrong = [
        f"{name}, {re.sub('^_ZN7spartan', '', function)}: {stores(body)} stores for {multiplies} products"
        for name, loops in products.items()
        for function, body, multiplies in loops
        if stores(body)
    ]
    assert not wrong


def test_a_store_of_a_vector_is_seen():
    body = ["\tldr\tq0, [sp, 16]", "\tfmla\tv0.4s, v1.4s, v2.4s", "\tstr\tq0, [sp, 16]", "\tstp\tq1, q2, [x0]"]
    assert stores(body) == 2
    assert stores(["\tstr\tx0, [sp]", "\tldr\tq1, [x2]"]) == 0
