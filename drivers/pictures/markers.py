"""Reads the structure of a JPEG from its markers before decoding. Pure; one pass over the bytes.

frame = frame_of(data)      # raises ValueError: not a JPEG, or of a kind that cameras do not make
frame.plain                 # without what a decoder does not need

This tells the cost of decoding: the number of pixels, how many passes there are, and whether all pixels must be held.
EXIF, colour profiles, comments, thumbnails, further pictures and data after the end are left out.
"""

import re
from typing import NamedTuple

_SEGMENTS = 256
"""The most segments. Cameras write 10 to 30; an ICC profile may have 255 pieces, but not in a phone's photo."""
_SCANS = 32
"""The most scans; each is a pass over the whole picture. Progressive pictures usually have 10, at most some 20."""
_EOI, _SOS, _DQT, _DHT, _DRI = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
_NEEDED = frozenset({_DQT, _DHT, _DRI, 0xE0, 0xEE})
"""Needed segments: tables; JFIF and Adobe, which define the colours."""
_FRAMES = {0xC0: False, 0xC1: False, 0xC2: True}
"""Frame types of cameras, all Huffman coded; True: progressive."""
_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {_DHT, 0xC8, 0xCC}
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF})
_FILLED = re.compile(rb"\xff+[^\xff]", re.DOTALL)
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker in coded data, except stuffed FF and restarts."""


class JpegFrame(NamedTuple):
    """The structure of a JPEG."""

    width: int
    height: int
    components: int
    whole: bool
    """All pixels are held while decoding, even if reduced, because it is progressive or has several scans."""
    plain: bytes
    """The picture without anything else."""


def frame_of(data: bytes) -> JpegFrame:
    """Read the structure. Raises ValueError with the reason."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise ValueError("no JPEG")
    walk = _Walk(data)
    while walk.step():
        pass
    return walk.frame()


class _Walk:
    """Walks from marker to marker."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 2
        self._plain = [data[:2]]
        self._segments = 0
        self._scans = 0
        self._size: tuple[int, int, int] | None = None
        self._progressive = False

    def step(self) -> bool:
        """Read one segment with the coded data after it; False: that was the end."""
        data = self._data
        found = _FILLED.match(data, self._at)
        if found is None:
            raise ValueError("cut short or damaged")
        self._at, kind = found.end() - 2, data[found.end() - 1]
        if kind == _EOI:
            self._plain.append(b"\xff\xd9")
            return False
        self._segments += 1
        end = self._at + 2 + int.from_bytes(data[self._at + 2 : self._at + 4])
        if self._segments > _SEGMENTS:
            raise ValueError(f"more than {_SEGMENTS} segments")
        if end < self._at + 4 or end > len(data):
            raise ValueError("cut short or damaged")
        self._judge(kind, data[self._at + 4 : end])
        if kind == _SOS:
            further = _MARKER.search(data, end)
            if further is None:
                raise ValueError("cut short or damaged")
            end = further.start()
        if kind in _NEEDED or kind in _FRAMES or kind == _SOS:
            self._plain.append(data[self._at : end])
        self._at = end
        return True

    def frame(self) -> JpegFrame:
        """The structure, once the end was reached."""
        if self._size is None or not all(self._size) or self._scans == 0:
            raise ValueError("no picture in it")
        return JpegFrame(*self._size, self._progressive or self._scans > 1, b"".join(self._plain))

    def _judge(self, kind: int, body: bytes) -> None:
        if kind in _ARITHMETIC:
            raise ValueError("arithmetical coding, which no camera uses")
        if kind in _OTHER_FRAMES:
            raise ValueError("a kind of JPEG that no camera makes")
        if kind in _FRAMES:
            if self._size is not None or len(body) < 6:
                raise ValueError("cut short or damaged")
            self._size = int.from_bytes(body[3:5]), int.from_bytes(body[1:3]), body[5]
            self._progressive = _FRAMES[kind]
        if kind == _SOS:
            self._scans += 1
            if self._scans > _SCANS:
                raise ValueError(f"more than {_SCANS} scans")
