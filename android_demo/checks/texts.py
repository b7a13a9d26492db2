"""The texts on which the demo's tokenizers are compared with the tokenizers library: real ones and hard
ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

SEED = 2211
_PIECES = {
    "emoji": [
        "😀",
        "👩\u200d👩\u200d👧\u200d👦",
        "🏳️\u200d🌈",
        "👍🏽",
        "🇩🇪",
        "❤️",
        "☺︎",
        "1️⃣",
        "🫠",
        "🧑🏿\u200d🚀",
    ],
    "marks": [
        "é",
        "Å̊",
        "ñ",
        "ử",
        "ǭ̣",
        "ạ̈̇",
        "Z͑ͫ̓ͪ̂",
        "क्षि",
        "ฐ์",
        "ᾄ͂",
        "ṩ",
        "ṩ",
        "각",
        "각",
        "゙が",
        "ཱིྀ",
    ],
    "right_to_left": [
        "שָׁלוֹם",
        "مَرْحَبًا",
        "בְּרֵאשִׁית",
        "السَّلام",
        "\u202eabc\u202c",
        "\u200fא\u200e",
        "ﷺ",
        "ܫܠܡܐ",
    ],
    "cjk": [
        "漢字",
        "日本語テスト",
        "한국어",
        "𠀋𡈽",
        "豈更",
        "㐀㐁",
        "ｆｕｌｌ　ｗｉｄｔｈ",
        "「括弧」。",
        "丽乁",
    ],
    "scripts": [
        "Žluťoučký kůň úpěl ďábelské ódy",
        "Tiếng Việt rất đẹp",
        "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
        "Съешь ещё этих мягких французских булок",
        "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ",
        "דג סקרן שט בים מאוכזב",
        "ऋषियों को सताने वाले दुष्ट राक्षसों",
        "বাংলা ভাষার স্বর",
        "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
        "ກຳລັງ",
        "天地玄黃宇宙洪荒",
        "いろはにほへとちりぬるを",
        "키스의 고유조건은 입술끼리",
        "\u1112\u1161\u11ab\u1100\u1173\u11af",
        "መስከረም",
        "Հայերեն այբուբեն",
        "ქართული ანბანი",
        "தமிழ் மொழி",
        "မြန်မာဘာသာ",
        "ភាសាខ្មែរ",
    ],
    "widths": [
        "１２３ＡＢＣ",
        "ｶﾀｶﾅｶﾞﾊﾟ",
        "ﬁne ﬂow ﬃ ſt",
        "½ ¼ ² ㎏ № ™ ℃",
        "①②③ ㈱ ㍿",
        "Ⅻ ⅷ",
        "ﷺ ﷽",
        "…‥ ‼",
        "𝐀𝓑ℂ𝟘",
        "K\u0338 ≠ =\u0338",
    ],
    "clusters": [
        "e\u0301",
        "e\u0301\u0323",
        "e\u0301\u0323\u0327",
        "か\u3099",
        "\r\n\r",
        "\u0600a",
        "\u0600\u0301",
        "\u0600\u1100\u1161",
        "™\u200d©\u0301",
        "©\u0301\u200d™\u0301",
        "™\u200c\u200d©\u0301",
        "™\u200d\u200d©\u0301",
        "क\u094dक\u0301",
        "क\u0301क\u0301",
        "क\u094d\u200cक\u0301",
        "क\u094d\u200dक\u0301",
        "क\u094d\u200dष",
        "กำ",
        "\u1100\u1161\u11a8\u11a8",
        "가\u11a8",
        "각\u1161",
        "\x00\u0301",
        "\u200b\u0301\u0302",
        "a\u200d\u0301",
        "🇩🇪🇫",
    ],
    "controls": [
        "\x00",
        "\x07",
        "\t",
        "\r\n",
        "\x1b[0m",
        "\x7f",
        "\x85",
        "\xa0",
        "\xad",
        "\u200b",
        "\u2028",
        "\ufeff",
        "\ufffd",
        "\u3000",
        "\u0600",
        "\ue000",
        "\U000e0001",
        "\U000f0000",
        "\ufdd0",
        "\x1c",
        "\u180e",
        "\u2060",
    ],
    "cases": [
        "İstanbul",
        "ΌΔΟΣ",
        "Straße",
        "ǅ",
        "ﬁ",
        "Ⅷ",
        "ß",
        "ẞ",
        "ΣΑΣ",
        "ꭰ",
        "𐐀",
        "Ა",
        "ſ",
        "K",
        "Å",
    ],
    "punctuation": [
        "can't",
        "WE'LL",
        "'sup",
        "it's'd",
        "rock'n'roll",
        "—",
        "…",
        "¿que?",
        "a_b",
        "€5.00",
        "100%",
        "C++",
        "#tag",
        "@you",
        "http://x.yz/?q=1&r=2",
        "a-b",
        "`x`",
        "$$$",
        "^_^",
        "«»",
        "،",
        "٪",
        "।",
        "ﾟ",
        "٣٫١٤",
        "½",
        "²",
        "''''",
        "' s",
        "  's",
    ],
    "specials": [
        "[MASK]",
        "[CLS]",
        "[SEP]",
        "[PAD]",
        "[UNK]",
        "[mask]",
        "<s>",
        "</s>",
        "<mask>",
        "<pad>",
        "<unk>",
        " <mask>",
        "<mask> ",
        "[[MASK]]",
        "a[MASK]b",
        "<s",
        "<|end|>",
        "##ing",
        "Ġ",
    ],
    "spaces": [
        " ",
        "  ",
        "   ",
        "\n",
        "\n\n",
        " \n ",
        "\t ",
        "\u2003",
        "\u00a0 ",
    ],
}
PROSE = _PIECES["scripts"]  # words and sentences of many scripts
_JOINING = sorted(set("".join(_PIECES["clusters"] + _PIECES["marks"] + _PIECES["emoji"])))
_BLOCKS = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x8FF), (0x900, 0xDFF),
(0xE00, 0x1FFF),
           (0x2000, 0x2BFF), (0x2E80, 0x33FF), (0x3400, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF),
           (0x20000, 0x2FFFF), (0xE0000, 0x10FFFF)]  # fmt: skip


def hard_texts(count: int, real: Sequence[str]) -> list[str]:
    """`count` texts, the same each time: real ones, real ones with hard pieces in them, mixtures, and
    extremes.
    """
    draw = random.Random(SEED)
    pieces = [piece for group in _PIECES.values() for piece in group]
    texts = ["", " ", "\n", "a", ".", *pieces, *_extremes(draw)]
    makers = [
        lambda: draw.choice(real),
        lambda: _with_pieces(draw, draw.choice(real), pieces),
        lambda: "".join(draw.choice(pieces) + draw.choice(("", " ")) for _ in range(draw.randint(1, 12))),
        lambda: "".join(_character(draw) for _ in range(draw.randint(1, 24))),
        lambda: "".join(draw.choice("ab' s1\n.ẹ́漢") for _ in range(draw.randint(1, 40))),
        lambda: _shouted(draw, draw.choice(real)),
        lambda: " ".join(draw.choice(PROSE + _PIECES["widths"]) for _ in range(draw.randint(1, 5))),
        lambda: "".join(draw.choice(_JOINING) for _ in range(draw.randint(2, 16))),
    ]
    while len(texts) < count:
        texts.append(draw.choice(makers)())
    return [text.encode("utf-8", "replace").decode() for text in texts[:count]]


def _extremes(draw: random.Random) -> list[str]:
    long_word = "".join(draw.choice("abcdefghijklmnop") for _ in range(5000))
    return [
        long_word,
        "a" * 99,
        "ab" * 700,
        "e\u0301" * 700,
        "the " * 5 + "\u2581" * 9 + "the\u2581the",
        "\u3000" * 40,
        "a" * 100,
        "a" * 101,
        "é" * 100,
        "é" * 101,
        "漢" * 2000,
        " " * 3000,
        "!" * 3000,
        "́" * 3000,
        "".join(draw.choice("\u0301\u0323\u0327\u0345\u05b0") for _ in range(2000)),
        "x" + "\u200d" * 1000,
        "'s" * 1000,
        "1" * 3000,
        "\U0001f600" * 1000,
        "word " * 2000,
        "[MASK]" * 300,
    ]


def _character(draw: random.Random) -> str:
    first, last = draw.choice(_BLOCKS)
    code = draw.randint(first, last)
    return chr(code) if not 0xD800 <= code < 0xE000 else "?"


def _with_pieces(draw: random.Random, text: str, pieces: Sequence[str]) -> str:
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(text))
        text = text[:at] + draw.choice(pieces) + text[at:]
    return text


def _shouted(draw: random.Random, text: str) -> str:
    return "".join(c.upper() if draw.random() < 0.5 else c for c in text).replace(
        " ", draw.choice((" ", "  ", "\t", "\u00a0"))
    )


def real_texts(root: Path) -> list[str]:
    """Sentences that people wrote: the project's own documents and comments."""
    sentences: list[str] = []
    documents = [*root.glob("*.md"), *(root / "android_demo").glob("*.md"), *root.glob("passes/*.py")]
    for document in sorted(documents):
        lines = document.read_text(encoding="utf-8").splitlines()
        sentences += [line.strip(" #|*>-") for line in lines if len(line.strip()) > 20]
    return sorted(set(sentences) - {""})
