"""What quantised bundles and their cells weigh against fp32."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spartanc.passes.ops.packing import pack_int4, pack_int8
from spartanc.passes.quantize_memories import quantize_cells

COMMAND = Path(__file__).parents[2] / "benchmarks" / "sizes.py"


@pytest.mark.parametrize("hidden", [384, 768])
@pytest.mark.parametrize(("bits", "pack", "most"), [(8, pack_int8, 0.27), (4, pack_int4, 0.16)], ids=["int8", "int4"])
def test_keys_and_values_take_their_share_of_fp32(hidden, bits, pack, most):
    torch.manual_seed(0)
    parents, keys, values = (torch.randn(count, hidden) for count in (16, 48, 48))
    memory = pack(parents, *quantize_cells(keys, bits), *quantize_cells(values, bits), 8, 1.6, pack_keys=True)
    held = [tensor.nbytes for name, tensor in memory._asdict().items() if name.startswith(("key_", "value_"))]
    assert len(held) >= 4
    assert bits / 32 < sum(held) / (keys.nbytes + values.nbytes) <= most


@pytest.mark.long
@pytest.mark.parametrize(("shape", "most"), [("mini", 0.30), ("roberta-base", 0.28)])
def test_an_int8_bundle_takes_its_share_of_fp32(shape, most):
    words = [sys.executable, COMMAND, "--shape", shape, "--quantize", "int8", "--json"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0.24 < json.loads(done.stdout)[shape]["int8"]["bundle_share"] <= most
