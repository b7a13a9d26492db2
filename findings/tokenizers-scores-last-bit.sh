#!/bin/sh
# tokenizers 0.23.3: a Unigram tokenizer that is saved and loaded gives some texts other tokens.
#
# Guessed: a tokenizer.json is read with the scores that were written to it, so that a tokenizer is the same after saving.
# Seen: the scores are written exactly (17 digits where they are needed), and read by serde_json without its feature
# float_roundtrip: the digits as one whole number, rounded, divided by a power of ten, rounded again. One
# in seven random float32 scores comes back as the neighbouring double. Where two ways through a word score the same, one of them wins
# before saving and the other after it. In the vocabulary of multilingual-e5-small 65,856 of 250,002 scores are off.
# Matters for whoever writes another reader of tokenizer.json and wants its ids: the nearest double is not what the library
# has. Seldom for texts: of ways that score the same to the last bit there are few, but for repeated letters.
#
# Output seen (x86-64):
#   scores that come back as another number: 588 of 4000
#   words that become other tokens: 163 of 2000
#   -12.147360801696777 -3.0252726078033447 -15.172633409500122: ['ab'] before, ['a', 'b'] after
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
import json
import random
import struct
import sys

from tokenizers import Tokenizer, models


def single(number):
    return struct.unpack("f", struct.pack("f", number))[0]


draw = random.Random(1)
off = changed = 0
first = None
for _ in range(2000):
    a, b = -single(draw.uniform(3, 15)), -single(draw.uniform(3, 15))
    before = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", a), ("b", b), ("ab", a + b)], unk_id=0))
    written = before.to_str()
    assert [score for _, score in json.loads(written)["model"]["vocab"]] == [0.0, a, b, a + b]
    after = Tokenizer.from_str(written)
    read = dict(json.loads(after.to_str())["model"]["vocab"])
    off += (read["a"] != a) + (read["b"] != b)
    tokens = before.encode("ab").tokens, after.encode("ab").tokens
    changed += tokens[0] != tokens[1]
    if first is None and tokens[0] != tokens[1]:
        first = f"{a} {b} {a + b}: {tokens[0]} before, {tokens[1]} after"
print(f"scores that come back as another number: {off} of 4000")
print(f"words that become other tokens: {changed} of 2000")
print(first)
sys.exit(0 if off and changed else 1)
PYTHON
