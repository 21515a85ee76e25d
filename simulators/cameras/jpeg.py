"""Pictures of cameras: real JPEG files (baseline, grey, 8x8 blocks of one shade), as large as is asked for.

ITU-T T.81. Every picture of another `seed` differs; `size` is reached by comments, as makers' own data fill theirs.
"""

from functools import lru_cache
from random import Random
from typing import Final

_STEP: Final = 8
"""Every coefficient is quantised by this; a block's DC is eight times its mean, so it is the shade itself."""
_DC_CODES: Final = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0))
_DC_VALUES: Final = bytes(range(12))
_MAX_COMMENT_BYTES: Final = 65_533
"""Bytes of one comment at most."""


@lru_cache(maxsize=64)
def jpeg(
    size: int = 0, *, seed: int = 0, width: int = 352, height: int = 288, mean: int = 128, spread: int = 60
) -> bytes:
    """A picture of `size` bytes, or of as many as it needs if that is more.

    Shades are `mean` ± `spread` (0-255); `spread` 0 is a flat one.
    """
    head = b"\xff\xd8" + _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
    tables = (
        _segment(0xDB, bytes((0, *[_STEP] * 64)))
        + _segment(0xC0, b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x01\x01\x11\x00")
        + _segment(0xC4, b"\x00" + _DC_CODES + _DC_VALUES)
        + _segment(0xC4, b"\x10" + bytes((1, *[0] * 15)) + b"\x00")
        + _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    )
    scan = _scan(_shades(seed, -(-width // 8), -(-height // 8), mean, spread))
    body = tables + scan + b"\xff\xd9"
    return head + _filling(size - len(head) - len(body), seed) + body


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data


def _filling(missing: int, seed: int) -> bytes:
    """So many bytes of comments; fewer than four cannot be filled."""
    random = Random(seed)  # noqa: S311 - noise, no secret
    pieces: list[bytes] = []
    while missing >= 4:
        length = min(missing - 4, _MAX_COMMENT_BYTES)
        if 0 < missing - 4 - length < 4:
            length -= 4
        pieces.append(_segment(0xFE, random.randbytes(length)))
        missing -= length + 4
    return b"".join(pieces)


def _shades(seed: int, columns: int, rows: int, mean: int, spread: int) -> list[int]:
    """A mosaic that gets darker to one side, with a bright plate in it."""
    random = Random(seed)  # noqa: S311 - noise, no secret
    shades: list[int] = []
    for row in range(rows):
        for column in range(columns):
            slope = (2 * column / max(1, columns - 1) - 1) * spread / 2
            shade = mean + slope + random.uniform(-spread / 2, spread / 2)
            if rows // 2 <= row < rows // 2 + 2 and columns // 3 <= column < columns // 2:
                shade = mean + spread
            shades.append(max(0, min(255, round(shade))))
    return shades


def _scan(shades: list[int]) -> bytes:
    """The entropy-coded blocks: the difference of each DC to the one before, then "no more"."""
    codes = _codes(_DC_CODES, _DC_VALUES)
    bits, count = 0, 0
    out = bytearray()
    before = 0
    for shade in shades:
        difference = (shade - 128) - before
        before = shade - 128
        category = abs(difference).bit_length()
        code, length = codes[category]
        low = difference if difference >= 0 else difference + (1 << category) - 1
        bits = ((bits << length | code) << category | low) << 1
        count += length + category + 1
        while count >= 8:
            count -= 8
            byte = bits >> count & 0xFF
            out += b"\xff\x00" if byte == 0xFF else bytes((byte,))
        bits &= (1 << count) - 1
    if count:
        byte = (bits << (8 - count) | (1 << (8 - count)) - 1) & 0xFF
        out += b"\xff\x00" if byte == 0xFF else bytes((byte,))
    return bytes(out)


def _codes(counts: bytes, values: bytes) -> dict[int, tuple[int, int]]:
    """Value -> code and its length (T.81, annex C)."""
    found: dict[int, tuple[int, int]] = {}
    code, place = 0, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            found[values[place]] = (code, length)
            code, place = code + 1, place + 1
        code <<= 1
    return found
