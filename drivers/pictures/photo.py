"""A phone's photo: decoded, stripped of all that it carries, stamped with when it arrived. Takes its time.

What comes out is a JPEG of this program's making. Its mark tells the same photo again: also cut anew, made smaller or
darker, but not another photo of the same thing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import (  # noqa: F401 - the last two are loaded by the first photo: an upgrade may have taken their files by then
    Image,
    ImageDraw,
    ImageFont,
    ImageOps,
    TiffImagePlugin,
)

from drivers.pictures.jpeg import MAX_JPEG_BYTES, Unusable, decoded, encoded

_GRID = (16, 12)
_ALIKE = 0.2
"""Two photos are one whose grids differ by less than this share of what stands out in them."""
_FLAT = 1.0
"""Grey values: where less stands out, a grid tells nothing."""
_EDGE = 4


class Photo(NamedTuple):
    """What is kept of it."""

    jpeg: bytes
    mark: str
    """Tells whether it was given before; see `repeats`."""


def photo_of(data: bytes, stamp: str, limit: int = MAX_JPEG_BYTES) -> Photo:
    """The photo as it is kept, with `stamp` (ASCII) written into it. Raises Unusable."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise Unusable("no JPEG")
    image = decoded(data)
    mark = image.convert("L").resize(_GRID, Image.Resampling.BOX).tobytes().hex()
    image = image.convert("RGB")
    image.thumbnail((1280, 1280), Image.Resampling.BILINEAR)
    _write(image, stamp)
    return Photo(encoded(image, limit), mark)


def repeats(mark: str, known: list[str]) -> bool:
    """True if one of the known marks is that of the same photo."""
    return any(_difference(mark, other) < _ALIKE for other in known)


def _difference(one: str, other: str) -> float:
    """What differs between two grids, exposure apart, as a share of what stands out in them."""
    try:
        here, there = _relief(bytes.fromhex(one)), _relief(bytes.fromhex(other))
    except ValueError:
        return 1.0
    depth = max(_mean(list(map(abs, here))), _mean(list(map(abs, there))))
    if len(here) != len(there) or depth < _FLAT:
        return 1.0
    return _mean([abs(a - b) for a, b in zip(here, there, strict=True)]) / depth


def _relief(grid: bytes) -> list[float]:
    middle = _mean(list(grid))
    return [value - middle for value in grid]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _write(image: Image.Image, stamp: str) -> None:
    font = ImageFont.load_default(size=max(12, image.height // 36))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), stamp, font=font)
    at = _EDGE, image.height - (bottom - top) - 3 * _EDGE
    draw.rectangle((0, at[1] - _EDGE, right - left + 3 * _EDGE, image.height), fill=(0, 0, 0))
    draw.text((at[0] - left, at[1] - top), stamp, fill=(255, 255, 255), font=font)
