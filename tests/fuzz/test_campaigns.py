"""The campaigns in small numbers, other ones every day that the seed is changed; `make fuzz` runs the long ones."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kinds import KINDS, Programs, SingleBytes

from support.mutations import generator_of

SEED = 20261122
RAW, RESEALED = 40, 12
FEW = {"model.pt": (15, 8), "original checkpoints": (8, 5), "model.pte": (40, 8), "single bytes": (3000, 0)}


@pytest.mark.parametrize("name", KINDS)
def test_altered_files_are_refused_or_do_no_harm(name, tmp_path):
    subject = KINDS[name](tmp_path)
    raw, resealed = FEW.get(name, (RAW, RESEALED))
    taken = []
    for number in range(raw):
        taken.append(subject.try_one(generator_of(SEED, number), False, number))
    assert "refused" in taken
    assert subject.raw_may_differ or "other" not in taken
    for number in range(resealed):
        outcome = subject.try_one(generator_of(SEED + 1, number), True, number)
        assert outcome.split(" (")[0] in ("refused", "same", "other", "died alone")


def test_the_campaign_sees_what_it_is_there_for(tmp_path):
    """A reader that refuses nothing, or that ends with another exception, does not pass."""

    class Careless(SingleBytes):
        def python(self):
            return "same"

    with pytest.raises(AssertionError, match="Python: same"):
        Careless(tmp_path).try_one(generator_of(SEED, 0), False, 0)


def test_a_changed_seal_reaches_the_loader(tmp_path):
    """Resealed programs pass the digests: what refuses them then is the loader or the probe."""
    subject = Programs(tmp_path)
    data = bytearray((subject.sound / "model.pte").read_bytes())
    data[-40] ^= 64
    (subject.bundle / "model.pte").write_bytes(data)
    assert subject.python() == "refused"
    subject.seal()
    assert subject.python() == "other"
