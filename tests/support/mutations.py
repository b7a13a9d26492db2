"""Random changes of bytes, from a seed and a number, so that any one of them can be made again."""

from __future__ import annotations

import json
import struct
import zipfile
from io import BytesIO

import numpy as np

NUMBERS = [0, 1, -1, 7, 63, 255, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 10**30, 1e308, -0.5]
WORDS = ["", "../x", "/", "\0", "a" * 5000, "ÿ", "none", "int8", None, True, [], {}, [[]], {"a": [1]}]


def generator_of(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])


def mutate_bytes(data: bytes, generator: np.random.Generator) -> bytes:
    """One to four changes: bits, bytes, a cut, a repeat, a swap, another end. Never `data` itself."""
    while True:
        changed = bytearray(data)
        for _ in range(int(generator.integers(1, 5))):
            at = int(generator.integers(max(len(changed), 1)))
            count = int(generator.integers(1, 33))
            match int(generator.integers(7)):
                case 0 | 1 if changed:
                    changed[at] ^= 1 << int(generator.integers(8))
                case 2:
                    changed[at : at + count] = generator.bytes(len(changed[at : at + count]))
                case 3:
                    del changed[at : at + count]
                case 4:
                    changed[at:at] = changed[at : at + count]
                case 5:  # where a length or an offset may stand
                    word = struct.pack("<I", int(generator.choice([0, 1, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1])))
                    changed[at & ~3 : (at & ~3) + 4] = word
                case 6:
                    changed[len(changed) - count :] = generator.bytes(int(generator.integers(32)))
        if bytes(changed) != data:
            return bytes(changed)


def mutate_json(text: bytes, generator: np.random.Generator) -> bytes:
    """One to three values of a JSON document replaced, removed, repeated or moved; its syntax stays sound."""
    document = json.loads(text)
    for _ in range(int(generator.choice([1, 1, 1, 2, 3]))):
        places = list(_places(document))
        holder, key = places[int(generator.integers(len(places)))]
        match int(generator.integers(5)):
            case 0:
                holder[key] = NUMBERS[int(generator.integers(len(NUMBERS)))]
            case 1:
                holder[key] = WORDS[int(generator.integers(len(WORDS)))]
            case 2:
                del holder[key]
            case 3:
                other, at = places[int(generator.integers(len(places)))]
                holder[key] = json.loads(json.dumps(other[at]))
            case 4:
                if isinstance(holder, list):
                    holder[key:key] = [holder[key]] * int(generator.integers(1, 5))
                else:
                    holder[f"{key}?"] = holder.pop(key)
        if not document:
            break
    return json.dumps(document).encode()


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield value, key
        yield from _places(each)


def mutate_zip(data: bytes, generator: np.random.Generator) -> bytes:
    """A change inside one entry of an archive, with checksum and directory written anew: what no reader can refuse by
    them."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    # Most entries are weights; what a reader interprets is the pickle.
    which = 0 if generator.random() < 0.6 else int(generator.integers(len(entries)))
    which = next((i for i, (name, _) in enumerate(entries) if which == 0 and name.endswith("data.pkl")), which)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for i, (name, content) in enumerate(entries):
            if i == which and content:
                content = mutate_bytes(content, generator)
            archive.writestr(name, content)
    return out.getvalue()
