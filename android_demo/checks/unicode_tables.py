"""Writes core's UnicodeTables.java: what the `tokenizers` library takes each character for.

A phone's own tables are of the Unicode version of its system, tokenizers' of the version it was built with;
a text must give the same ids on both. So every code point is asked of the library, and the answers are what
the demo uses.

    unicode_tables.py [--check]      writes the file, or fails where it is not what the library says
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import batches
import grapheme_tables
from tokenizers import Regex, normalizers, pre_tokenizers

TARGET = Path(__file__).parents[1] / "core/src/main/java/org/spartanc/core/UnicodeTables.java"
SURROGATES = range(0xD800, 0xE000)
HANGUL = range(0xAC00, 0xD7A4)
CODE_POINTS = [code for code in range(0x110000) if code not in SURROGATES]
_CLASS_MARKS = {  # one character of every canonical combining class that reorders
    1: 0x334, 7: 0x93C, 8: 0x3099, 9: 0x94D, 10: 0x5B0, 11: 0x5B1, 12: 0x5B2, 13: 0x5B3, 14: 0x5B4, 15: 0x5B5,
    16: 0x5B6, 17: 0x5B7, 18: 0x5B8, 19: 0x5B9, 20: 0x5BB, 21: 0x5BC, 22: 0x5BD, 23: 0x5BF, 24: 0x5C1, 25:
    0x5C2, 26: 0xFB1E, 27: 0x64B, 28: 0x64C, 29: 0x64D, 30: 0x64E, 31: 0x64F, 32: 0x650, 33: 0x651, 34:
    0x652, 35: 0x670, 36: 0x711, 84: 0xC55, 91: 0xC56, 103: 0xE38, 107: 0xE48, 118: 0xEB8, 122: 0xEC8, 129:
    0xF71, 130: 0xF72, 132: 0xF74, 202: 0x321, 214: 0x1DCE, 216: 0x31B, 218: 0x302A, 220: 0x316, 222: 0x59A,
    224: 0x302E, 226: 0x1D16D, 228: 0x5AE, 230: 0x301, 232: 0x302C, 233: 0x35C, 234: 0x35D, 240: 0x345,
}  # fmt: skip


def bert(**options: bool) -> normalizers.Normalizer:
    nothing = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**(nothing | options))


def tables() -> dict[str, list[int]]:
    clean, cjk = bert(clean_text=True), bert(handle_chinese_chars=True)
    lower, nfd, strip = bert(lowercase=True), normalizers.NFD(), bert(strip_accents=True)
    punctuation = pre_tokenizers.BertPreTokenizer()
    decomposed, compatible, composed, unaccented = (
        dict(zip(CODE_POINTS, batches.each(normalizer, map(chr, CODE_POINTS)), strict=True))
        for normalizer in (nfd, normalizers.NFKD(), normalizers.NFC(), normalizers.StripAccents())
    )
    return {
        "SPACE": ranges(lambda c: clean.normalize_str(c) == " "),
        "REMOVED": ranges(lambda c: clean.normalize_str(c) == ""),
        "WHITE": ranges(lambda c: len(punctuation.pre_tokenize_str(f"a{c}a")) == 2),
        "PUNCTUATION": ranges(lambda c: len(punctuation.pre_tokenize_str(f"a{c}a")) == 3),
        "CJK": ranges(lambda c: cjk.normalize_str(c) != c),
        "MARK": ranges(lambda c: decomposed[ord(c)] == c and strip.normalize_str(c) == ""),
        "LETTER": regex_class(r"\p{L}"),
        "NUMBER": regex_class(r"\p{N}"),
        "REGEX_SPACE": regex_class(r"\s"),
        "LOWER": mapping(lambda code: lower.normalize_str(chr(code))),
        "DECOMPOSITION": mapping(lambda code: chr(code) if code in HANGUL else decomposed[code]),
        "COMBINING": combining_classes(nfd),
        "ACCENT": ranges(lambda c: unaccented[ord(c)] == ""),
        "UNCOMPOSED": ranges(lambda c: composed[ord(c)] != c),
        "COMPATIBLE": mapping(lambda code: chr(code) if compatible[code] == decomposed[code] else compatible[code]),
        **grapheme_tables.tables(CODE_POINTS, runs),
    }


def ranges(holds: Callable[[str], bool]) -> list[int]:
    """first, last, first, last, ... of the code points of which `holds` is true."""
    return runs(code for code in CODE_POINTS if holds(chr(code)))


def regex_class(pattern: str) -> list[int]:
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return ranges(lambda c: len(split.pre_tokenize_str(f"\x01{c}\x01")) == 3)


def runs(codes: Iterable[int]) -> list[int]:
    result: list[int] = []
    for code in codes:
        if result and result[-1] == code - 1:
            result[-1] = code
        else:
            result += [code, code]
    return result


def mapping(image: Callable[[int], str]) -> list[int]:
    """code, number of code points it becomes, those code points; only for what changes."""
    result: list[int] = []
    for code in CODE_POINTS:
        text = image(code)
        if text != chr(code):
            result += [code, len(text), *map(ord, text)]
    return result


def combining_classes(nfd: normalizers.Normalizer) -> list[int]:
    """code, class of every character that canonical ordering moves."""

    def moves_before(mark: int, code: int) -> bool:
        """Whether `code` is of a lower class than `mark`, and not a starter."""
        return code != mark and nfd.normalize_str(chr(mark) + chr(code)) == chr(code) + chr(mark)

    highest, lowest = _CLASS_MARKS[240], _CLASS_MARKS[1]
    result: list[int] = []
    for code in CODE_POINTS:
        if code in HANGUL or not (moves_before(highest, code) or moves_before(code, lowest)):
            continue  # a starter, or a character that is decomposed before anything is ordered
        if nfd.normalize_str(chr(code)) == chr(code):
            result += [
                code,
                max(value for value, mark in _CLASS_MARKS.items() if not moves_before(mark, code)),
            ]
    return result


def java(values: dict[str, list[int]]) -> str:
    """Each table as text: differences of neighbours in base 36, apart by spaces; javac limits a string to
    65535 bytes.
    """
    lines = [
        "package org.spartanc.core;",
        "",
        "/**",
        " * What the tokenizers library takes each character for; checks/unicode_tables.py writes this file.",
        " * A table is a list of numbers, each given in base 36 as its difference from the one before.",
        " */",
        "final class UnicodeTables {",
        "  private UnicodeTables() {}",
    ]
    for name, numbers in values.items():
        deltas = [numbers[0], *(b - a for a, b in itertools.pairwise(numbers))]
        text = " ".join(base36(delta) for delta in deltas)
        pieces = [text[i : i + 100] for i in range(0, len(text), 100)]
        lines += [
            "",
            f"  static final String {name} =",
            "      " + "\n          + ".join(f'"{p}"' for p in pieces) + ";",
        ]
        if len(text) > 65000:
            raise SystemExit(f"{name}: {len(text)} characters do not fit one Java string")
    return "\n".join([*lines, "}", ""])


def base36(value: int) -> str:
    digits, rest = "", abs(value)
    while rest:
        rest, digit = divmod(rest, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return ("-" if value < 0 else "") + (digits or "0")


def main() -> None:
    text = java(tables())
    if "--check" in sys.argv:
        if TARGET.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{TARGET.name} is not what this tokenizers library says: run {Path(__file__).name}")
        print(f"{TARGET.name}: as the library says, for all {len(CODE_POINTS)} code points")
        return
    TARGET.write_text(text, encoding="utf-8")
    print(f"{TARGET.name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
