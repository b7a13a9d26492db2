"""Many short texts through a normaliser of the library, a thousand in a call: a call takes longer than its text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from tokenizers import normalizers

_MANY = 1000
_APART = "\0"  # joins nothing, is composed with nothing, and stays


def each(normalizer: normalizers.Normalizer, texts: Iterable[str]) -> Iterator[str]:
    """What it makes of every text; those that hold U+0000 by themselves."""
    left = iter(texts)
    while some := list(islice(left, _MANY)):
        if any(_APART in text for text in some):
            yield from map(normalizer.normalize_str, some)
            continue
        found = normalizer.normalize_str(_APART.join(some)).split(_APART)
        if len(found) != len(some):
            raise SystemExit(f"{normalizer} does not leave U+0000 as it is")
        yield from found
