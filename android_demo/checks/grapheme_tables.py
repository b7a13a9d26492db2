"""How the `tokenizers` library divides a text into grapheme clusters, asked of it character by character.

Its Precompiled normaliser looks a whole cluster up where that has less than six bytes of UTF-8, else each character
by itself. A map that turns whatever begins with any byte into one mark therefore shows where clusters end: a short
cluster leaves one mark, a long one a mark for each character. (It leaves U+0000, where every look-up ends.)

Where a difference can't be seen so, it changes no ids: pairs of regional indicators, eight bytes each, are in no table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

import batches
from tokenizers import normalizers

_TWO_MARKS = "\u0301\u0302"  # that extend what stands before them, two bytes each
_NON_JOINER = "\u200c"
_JOINER, _SIGN, _PICTURE = "\u200d", "\u00a9", "\u2122"  # two pictographs, of two bytes and of three
_CONSONANT, _LINKER = "\u0915", "\u094d"
_PREPENDED = "\u0600"  # stands at the beginning of the cluster that follows; two bytes
_L, _V, _T = "\u1100", "\u1161", "\u11a8"  # Hangul's leading consonants, vowels and trailing consonants
_SYLLABLES = range(0xAC00, 0xD7A4)


def tables(code_points: Sequence[int], runs: Callable[[Iterable[int]], list[int]]) -> dict[str, list[int]]:
    """Ranges of the characters of each kind, by the rules GB3 to GB11 of Unicode's Annex 29."""
    normalizer = every_byte()

    def those(probe: Callable[[str], str], marks: int, among: Iterable[int] = code_points) -> set[int]:
        """The characters of which the probe leaves so many marks."""
        codes = list(among)
        found = batches.each(normalizer, (probe(chr(code)) for code in codes))
        return {code for code, image in zip(codes, found, strict=True) if len(image) == marks}

    joined = those(lambda c: "a" + c, 1)  # marks, joiners and vowel signs: to what stands before them
    prepended = those(lambda c: c + "a", 1)
    control = those(lambda c: c + _TWO_MARKS, 2)  # nothing joins these
    others = [code for code in code_points if code not in joined and code not in control]
    leading = those(lambda c: _PREPENDED + c + _L, 3, [code for code in others if code < 0x10000])
    vowel = those(lambda c: _PREPENDED + _L + c, 3, [code for code in others if code not in _SYLLABLES])
    beside_linker = those(lambda c: _CONSONANT + _LINKER + c + _CONSONANT + "\u0301", 5, joined)
    before_joiner = those(lambda c: _PICTURE + c + _JOINER + _SIGN + "\u0301", 5, joined)
    if before_joiner ^ beside_linker != {ord(_JOINER), ord(_NON_JOINER)} or ord(_JOINER) in before_joiner:
        raise SystemExit(
            "Graphemes.java takes the same marks, but for joiners, between consonants and between pictographs"
        )
    sets = {
        "JOINED": joined,
        "PREPENDED": prepended,
        "CONTROL": control,
        "PICTURE": those(lambda c: c + _JOINER + _SIGN + "\u0301", 4, others),
        "CONSONANT": those(lambda c: c + _LINKER + _CONSONANT + "\u0301", 4, others),
        "LINKER": those(lambda c: _CONSONANT + c + _CONSONANT + "\u0301", 4, joined),
        "BESIDE_LINKER": beside_linker,
        "HANGUL_L": leading - prepended,
        "HANGUL_V": vowel - leading,
        "HANGUL_T": those(lambda c: _PREPENDED + _T + c, 3, others),
    }
    return {name: runs(sorted(codes)) for name, codes in sets.items()}


def every_byte() -> normalizers.Normalizer:
    """The map that leaves `|` of whatever begins with any byte."""
    root, leaf, children = 0, 1, 256
    units = [0] * 512
    units[root] = children << 10
    units[leaf] = 1 << 31  # the value 0: where the mark stands
    for byte in range(1, 256):
        units[children + byte] = (children + byte ^ leaf) << 10 | 1 << 8 | byte
    trie = struct.pack(f"<{len(units)}I", *units)
    return normalizers.Precompiled(struct.pack("<I", len(trie)) + trie + b"|\0")
