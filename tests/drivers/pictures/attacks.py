"""JPEGs that somebody made to cost time or memory, or to be taken for something else."""

import struct
from collections.abc import Iterator
from io import BytesIO
from random import Random
from typing import Any

from PIL import Image

LARGEST = 8 << 20
"""Bytes; no larger answer of a camera is taken."""
_ZEROS, _ENDS = bytes((1, *bytes(15), 0x00)), bytes((1, *bytes(15), 0xE0))
"""Tables of one code: nothing changes; nothing more comes in 16,384 blocks."""


def segment(kind: int, body: bytes) -> bytes:
    return bytes((0xFF, kind)) + struct.pack(">H", len(body) + 2) + body


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Those before the first scan."""
    at = 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        yield data[at + 1], data[at + 4 : end]
        at = end


def scene(mode: str = "RGB", size: tuple[int, int] = (640, 360), **options: Any) -> bytes:
    """A picture with something in it."""
    wide, high = 40, 24
    bands = len(Image.new(mode, (1, 1)).getbands())
    small = Image.frombytes(mode, (wide, high), Random(1).randbytes(wide * high * bands))  # noqa: S311 - repeatable
    out = BytesIO()
    small.resize(size, Image.Resampling.NEAREST).save(out, "JPEG", **options)
    return out.getvalue()


def of_scans(width: int, height: int, scans: int) -> bytes:
    """Progressive; each scan goes over the whole picture and changes nothing."""
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    head = b"\xff\xd8" + segment(0xDB, bytes((0, *[1] * 64)))
    head += segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + bytes((1, 0x11, 0)))
    head += segment(0xC4, b"\x00" + _ZEROS) + segment(0xC4, b"\x10" + _ENDS)
    first = segment(0xDA, bytes((1, 1, 0, 0, 0, 0))) + bytes(blocks // 8 + 1)
    more = segment(0xDA, bytes((1, 1, 0, 1, 63, 0))) + bytes(2 * (blocks // 16_384 + 1))
    return head + first + more * scans + b"\xff\xd9"


def one_colour_after_the_other(width: int, height: int) -> bytes:
    """Not progressive, and yet in three scans: whoever decodes it holds all of it."""
    head = b"\xff\xd8" + segment(0xDB, bytes((0, *[1] * 64)))
    head += segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + bytes((1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0)))
    head += segment(0xC4, b"\x00" + _ZEROS) + segment(0xC4, b"\x10" + _ZEROS)
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    return head + b"".join(
        segment(0xDA, bytes((1, one, 0, 0, 63, 0))) + bytes(blocks // 4 + 1) for one in (1, 2, 3)
    ) + b"\xff\xd9"  # fmt: skip


def resized(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG with another size in its frame header."""
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        at = data.find(marker)
        if at > 0:
            return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]
    raise AssertionError("no frame header")


def with_segment(data: bytes, kind: int, body: bytes) -> bytes:
    """One more, behind the beginning."""
    return data[:2] + segment(kind, body) + data[2:]


def turned_by_exif(data: bytes, width: int) -> bytes:
    """It says that it is turned by a quarter, and `width` pixels wide."""
    lie = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    return with_segment(data, 0xE1, lie + struct.pack(">HHII", 0xA002, 4, 1, width) + bytes(4))


def of_two_pictures(first: bytes, second: bytes) -> bytes:
    """As phones write a picture and its copy (MPO): an index, and the second behind the end of the first."""
    images = [(0x030000, len(first), 0), (0, len(second), len(first))]
    body = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 3)
    body += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, 2)
    body += struct.pack("<HHII", 0xB002, 7, 16 * len(images), len(body) + 16)
    body += bytes(4) + b"".join(struct.pack("<IIIHH", kind, size, at, 0, 0) for kind, size, at in images)
    return with_segment(first, 0xE2, b"MPF\x00" + body) + second


def replaced(data: bytes, kind: int, body: bytes) -> bytes:
    """The first segment of this kind with another body."""
    at = data.index(bytes((0xFF, kind)))
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
    return data[:at] + segment(kind, body) + data[end:]


def as_frame(data: bytes, kind: int) -> bytes:
    """The same bytes under another kind of frame."""
    at = data.index(b"\xff\xc0")
    return data[: at + 1] + bytes((kind,)) + data[at + 2 :]
