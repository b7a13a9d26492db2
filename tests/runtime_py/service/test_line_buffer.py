"""Lines out of bytes, however those arrive."""

import numpy as np

from spartanc.runtime_py.service.line_buffer import LineBuffer


def lines_of(data, cuts, longest):
    """What comes out of `data`, handed over in pieces, and whether a line was too long."""
    buffer, lines = LineBuffer(longest), []
    for piece in np.split(np.frombuffer(data, np.uint8), cuts):
        buffer.add(piece.tobytes())
        while buffer.has_line:
            lines.append(buffer.take())
        if buffer.is_too_long:
            return lines, True
    return lines, False


def test_lines_do_not_depend_on_how_bytes_are_cut():
    generator = np.random.default_rng(0)
    for _ in range(300):
        data = generator.choice(np.frombuffer(b"ab\n", np.uint8), 60, p=[0.45, 0.45, 0.1]).tobytes()
        cuts = np.sort(generator.integers(0, 61, generator.integers(0, 20)))
        whole = data.split(b"\n")[:-1]
        assert lines_of(data, cuts, 60) == (whole, False)
        longest = int(generator.integers(1, 20))
        fits = [len(line) <= longest for line in data.split(b"\n")]
        first_long = fits.index(False) if False in fits else len(whole)
        assert lines_of(data, cuts, longest) == (whole[:first_long], False in fits)


def test_a_part_is_told_from_a_line_and_from_nothing():
    buffer = LineBuffer(4)
    assert not (buffer.has_part or buffer.has_line or buffer.is_too_long)
    buffer.add(b"abc")
    assert buffer.has_part and not buffer.has_line
    buffer.add(b"d\nefghi")
    assert buffer.has_line and not buffer.has_part and not buffer.is_too_long
    assert buffer.take() == b"abcd"
    assert buffer.is_too_long and not buffer.has_part
