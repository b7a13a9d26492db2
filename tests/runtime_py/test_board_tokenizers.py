"""Texts become the same ids on a board's processor as here: what `run.py` brings, with the wheel for aarch64."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from spartanc.runtime_py.imports import imported_modules
from spartanc.runtime_py.text import TextEncoder
from support.rootfs import READY, WHEELS_FOLDER, root_file_system, run_in_root

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "android_demo" / "checks"))

import parity  # noqa: E402
import texts  # noqa: E402

TEXTS = 10_000
MAX_LENGTH = 64
KINDS = ("bert-uncased", "roberta", "xlm-roberta", "albert", "deberta-v2", "bpe-bytes")
ENCODE = """
import json, sys
from pathlib import Path
from spartanc.runtime_py.text import TextEncoder
here = Path(sys.argv[1])
texts = json.loads((here / "texts.json").read_text())
for tokenizer in sorted(here.glob("*.tokenizer")):
    encoder = TextEncoder(tokenizer.read_text(), int(sys.argv[2]))
    found = [encoder.encode(text).ids for text in texts]
    tokenizer.with_suffix(".ids").write_text(json.dumps(found))
"""


@pytest.mark.long
@pytest.mark.qemu
@pytest.mark.skipif(not READY, reason="needs root, debootstrap and qemu-user-static")
def test_ten_thousand_texts_give_the_same_ids_on_aarch64(tmp_path):
    real = texts.real_texts(ROOT)
    given = texts.hard_texts(TEXTS, real)
    named = parity.tokenizers_to_try(real, {})
    root = root_file_system()
    home = root / "tmp" / tmp_path.name
    shutil.rmtree(home, ignore_errors=True)
    try:
        for name, source in imported_modules(ROOT / "runtime_py" / "board" / "run.py").items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, home / name)
        (home / "encode.py").write_text(ENCODE)
        (home / "texts.json").write_text(json.dumps(given))
        for name in KINDS:
            (home / f"{name}.tokenizer").write_text(named[name])
        inside = f"/tmp/{tmp_path.name}"
        words = ["/usr/bin/python3", f"{inside}/encode.py", inside, str(MAX_LENGTH)]
        done = run_in_root(root, "cortex-a72", "-E", f"PYTHONPATH=/{WHEELS_FOLDER}", *words)
        assert done.returncode == 0, done.stderr
        for name in KINDS:
            encoder = TextEncoder(named[name], MAX_LENGTH)
            expected = [encoder.encode(text).ids for text in given]
            assert json.loads((home / f"{name}.ids").read_text()) == expected, name
            assert len({tuple(ids) for ids in expected}) > TEXTS // 2, name
    finally:
        shutil.rmtree(home, ignore_errors=True)
