"""A phone's photo: decodes it, removes all metadata, stamps it with the time of arrival. Slow.

The result is a JPEG encoded by this program. Its mark recognises the same photo, even if cut by a few pixels, reduced,
darker or brighter, rotated or mirrored, but not another photo of the same place. The mark says for each block of a
24 x 24 grid to which quarter of the picture's grey values it belongs, which does not depend on exposure.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from PIL import (  # noqa: F401 - else loaded by the first photo, perhaps after an upgrade
    Image,
    ImageDraw,
    ImageFont,
    ImageOps,
    TiffImagePlugin,
)

from drivers.pictures.jpeg import MAX_JPEG_BYTES, SMALLEST, Unusable, decoded, encoded

_SIDE = 24
_QUARTERS = ("000", "001", "011", "111")
"""With this coding the number of different bits is the sum of the blocks' distances."""
_MARK_BYTES = _SIDE * _SIDE * (len(_QUARTERS) - 1) // 8
_ALIKE = 0.11
"""Photos whose marks differ in less than this share of bits are the same. Copies cut by 1.5 %, toned and rotated have
0.10 at most; photos of one place from two standpoints, 3 % of the view and a degree apart, have 0.12 and more."""
_FLAT = 1.0
"""The least range of grey values; with less, repeats cannot be recognised."""
_EDGE = 4
_BLACK, _WHITE = 8, 247
"""Grey values."""


class Photo(NamedTuple):
    """The kept photo."""

    jpeg: bytes
    mark: str
    """Recognises a repeated photo; see `given_for`."""


def photo_of(data: bytes, stamp: str, limit: int = MAX_JPEG_BYTES) -> Photo:
    """The photo to keep, with `stamp` (ASCII) written into it. Raises Unusable, also if it shows nothing."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise Unusable("no JPEG")
    image = decoded(data)
    if min(image.size) < SMALLEST:
        raise Unusable(f"too small: {image.width} x {image.height}")
    mark = _mark(image)
    image = image.convert("RGB")
    if _is_cut(image):
        raise Unusable("its lower part is of one colour: the file was cut short")
    image.thumbnail((1280, 1280), Image.Resampling.BILINEAR)
    _write(image, stamp)
    return Photo(encoded(image, limit), mark)


def given_for(mark: str, known: Mapping[str, Iterable[str]]) -> str | None:
    """The name under which the same photo is known, in any orientation; None: it is new. `known`: name -> marks."""
    here = _bits(mark)
    if here is None:
        return None
    turned = [*_turned(here)]
    most = _ALIKE * _MARK_BYTES * 8

    def same(marks: Iterable[str]) -> bool:
        return any((there ^ one).bit_count() < most for there in filter(None, map(_bits, marks)) for one in turned)

    return next((name for name, marks in known.items() if same(marks)), None)


def _mark(image: Image.Image) -> str:
    """The mark of a picture. Raises Unusable if it has too little contrast."""
    grid = image.convert("F").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    values = [float(one) for one in grid.get_flattened_data()]  # type: ignore[arg-type]
    ordered = sorted(values)
    if ordered[-1] - ordered[0] < _FLAT:
        raise Unusable("it shows nothing: one grey from end to end")
    cuts = [ordered[len(ordered) * part // len(_QUARTERS)] for part in range(1, len(_QUARTERS))]
    bits = "".join(_QUARTERS[sum(value >= cut for cut in cuts)] for value in values)
    return base64.b64encode(int(bits, 2).to_bytes(_MARK_BYTES)).decode()


def _is_cut(image: Image.Image) -> bool:
    """True if the lowest eighth is exactly of one colour. A file that ends early but properly is decoded so.

    Not if that is black or white: so it is at night and in the sun.
    """
    bands = image.crop((0, image.height * 7 // 8, image.width, image.height)).getextrema()
    lows, highs = zip(*bands, strict=True)
    return lows == highs and max(highs) > _BLACK and min(lows) < _WHITE


def _bits(mark: str) -> int | None:
    """The bits of a mark; None: it is invalid."""
    try:
        data = base64.b64decode(mark)
    except ValueError:
        return None
    return int.from_bytes(data) if len(data) == _MARK_BYTES else None


def _turned(bits: int) -> Iterator[int]:
    """The mark in all eight orientations: rotated and mirrored."""
    wide = len(_QUARTERS) - 1
    text = f"{bits:0{_MARK_BYTES * 8}b}"
    blocks = [text[at : at + wide] for at in range(0, len(text), wide)]
    rows = [blocks[at : at + _SIDE] for at in range(0, len(blocks), _SIDE)]
    for _ in range(4):
        for shown in (rows, rows[::-1]):
            yield int("".join(block for row in shown for block in row), 2)
        rows = [list(row) for row in zip(*rows[::-1], strict=True)]


def _write(image: Image.Image, stamp: str) -> None:
    font = ImageFont.load_default(size=max(12, image.height // 36))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), stamp, font=font)
    at = _EDGE, image.height - (bottom - top) - 3 * _EDGE
    draw.rectangle((0, at[1] - _EDGE, right - left + 3 * _EDGE, image.height), fill=(0, 0, 0))
    draw.text((at[0] - left, at[1] - top), stamp, fill=(255, 255, 255), font=font)
