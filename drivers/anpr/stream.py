"""Splits endless multipart bodies (alertStream, eventManager, snapManager): bytes in, parts out. Pure.

A part ends by its Content-Length if that is given and correct, else at the next delimiter. A text that is complete by
its own format is returned at once, because the next delimiter may come only with the next heartbeat.
"""

import re

from drivers.anpr.capture import Unreadable
from drivers.anpr.jsontree import parse
from drivers.anpr.multipart import HEADERS_BYTES, FormPart, headers_of, leading, length_of

MAX_PART_BYTES = 4 << 20
"""The largest part in bytes, including headers."""
_BLANK = re.compile(rb"\r?\n[ \t]*\r?\n")
_FIRST_LINE = re.compile(rb"(?:^|\n)(--[^\r\n]{1,200}?)[ \t]{0,64}\r?\n")
_XML_END = re.compile(rb"</(?:[\w.-]{1,32}:)?EventNotificationAlert\s*>\s*$", re.IGNORECASE)
_BEFORE = rb"(?:(?<=[\n\xd9}>]%b)|(?<=\A%b))"
_BEHIND = rb"(?=--(?:[\r\n ]|\Z)|[\r\n]|[ \t\r\x0b\x0c]{0,39}(?:\n|\Z)|[ \t\r\x0b\x0c]{40})"
"""What follows a real delimiter, see `multipart.ends`; there may be many false ones."""
TRIES = 64
_TRIED_BYTES = 64 << 10
"""A longer text waits for its delimiter."""


class PartStream:
    """Cuts one connection's body into parts. Bounded by `MAX_PART_BYTES`; beyond it `feed` raises Unreadable."""

    def __init__(self, boundary: bytes | None) -> None:
        self._delimiters = () if not boundary else (b"--" + boundary, boundary)
        self._delimiter = b""
        self._line: re.Pattern[bytes] | None = None
        """The delimiter with its surroundings."""
        self.has_more = False
        """`feed` stopped at its limit of steps."""
        self._buffer = bytearray()
        self._searched = 0
        """No delimiter begins before this position."""
        self._inside = False
        """The buffer begins with the headers of a part."""
        self._tries = 0
        self._given = False
        """The part at the start of the buffer has been returned already."""

    def feed(self, data: bytes, steps: int = 1 << 30) -> list[FormPart]:
        """The parts that are now complete. Raises Unreadable: no delimiter found, part too large.

        `steps`: the most steps, two per part; `has_more` then says whether to continue by feeding nothing.
        """
        self._buffer += data
        found: list[FormPart] = []
        self.has_more = True
        for _ in range(steps):
            if not self._step(found):
                self.has_more = False
                break
        if not self.has_more and len(self._buffer) > MAX_PART_BYTES:
            raise Unreadable("a part over the limit")
        return found

    def _step(self, found: list[FormPart]) -> bool:
        """Do one step; False: more bytes are needed."""
        return self._take(found) if self._inside else self._enter()

    def _enter(self) -> bool:
        """Move past the next delimiter line."""
        if not self._delimiter and not self._learn():
            return False
        at = self._find()
        if at is None:
            return False
        line = self._buffer.find(b"\n", at + len(self._delimiter))
        if line < 0:
            return False
        del self._buffer[: line + 1]
        self._searched, self._inside, self._given, self._tries = 0, True, False, 0
        return True

    def _learn(self) -> bool:
        """Find the delimiter that this camera really uses: from the header, or its first line beginning with dashes."""
        for candidate in self._delimiters:
            if candidate.startswith(b"--") and self._buffer.find(candidate) >= 0:
                self._delimiter = candidate
                return True
        line = _FIRST_LINE.search(self._buffer[:HEADERS_BYTES])
        if line is not None:
            self._delimiter = line[1]
            return True
        if len(self._buffer) > HEADERS_BYTES:
            raise Unreadable("no delimiter in the stream")
        return False

    def _take(self, found: list[FormPart]) -> bool:
        """Take the part at the start of the buffer."""
        if self._buffer[:2] == b"--" and self._buffer.startswith(self._delimiter):
            self._inside = False
            return True
        headers, body = _cut(self._buffer)
        if self._given or not body:
            return self._take_to_delimiter(found, 0, 0)
        length = length_of(bytes(self._buffer[:headers]))
        if length > MAX_PART_BYTES:
            raise Unreadable("a part over the limit")
        end = body + length
        if not length or not self._is_true(end):
            return self._take_to_delimiter(found, headers, body)
        if len(self._buffer) < end:
            return False
        self._give(found, self._buffer[:headers], self._buffer[body:end])
        del self._buffer[:end]
        self._searched, self._inside = 0, False
        return True

    def _is_true(self, end: int) -> bool:
        """True if the Content-Length may be correct: a delimiter begins where it ends, as far as received."""
        seen = bytes(self._buffer[end : end + 4 + len(self._delimiter)]).lstrip(b"\r\n")
        return self._delimiter.startswith(seen[: len(self._delimiter)])

    def _take_to_delimiter(self, found: list[FormPart], headers: int, body: int) -> bool:
        """Take a part without a length: up to the next delimiter, or if complete by its own format."""
        at = self._find()
        if at is not None:
            if not self._given and 0 < body <= at:
                self._give(found, self._buffer[:headers], _trim(bytes(self._buffer[body:at])))
            del self._buffer[:at]
            self._searched, self._inside = 0, False
            return True
        if not self._given and body and self._looks_whole(headers, body):
            self._give(found, self._buffer[:headers], self._buffer[body:])
            self._given = True
        return False

    def _looks_whole(self, headers: int, body: int) -> bool:
        """True if the text is complete by its own format; checked at most once per received piece."""
        if self._tries >= TRIES or b"image/" in self._buffer[:headers].lower():
            return False
        if not bytes(self._buffer[-8:]).rstrip().endswith((b"}", b">", b"t")):
            return False
        self._tries += 1
        return _is_whole(bytes(self._buffer[body : body + _TRIED_BYTES + 1]))

    def _find(self) -> int | None:
        """Where the next delimiter line begins; never searches the same bytes twice."""
        if self._line is None:
            name = re.escape(self._delimiter)
            self._line = re.compile(name + _BEFORE % (name, name) + _BEHIND)
        line = self._line.search(self._buffer, self._searched)
        if line is None:
            self._searched = max(self._searched, len(self._buffer) - len(self._delimiter) - 2)
            return None
        if line.end() + 2 > len(self._buffer):
            self._searched = line.start()
            return None
        return line.start()

    def _give(self, found: list[FormPart], headers: bytes | bytearray, body: bytes | bytearray) -> None:
        found.append(FormPart(bytes(body), **headers_of(bytes(headers))))


def _cut(buffer: bytearray) -> tuple[int, int]:
    """Where the headers end and the body begins; body at 0: not received yet."""
    led = leading(buffer)
    for empty in (b"\r\n", b"\n"):
        if not led and buffer.startswith(empty):
            return 0, len(empty)
    blank = _BLANK.search(buffer, led, HEADERS_BYTES)
    return (0, 0) if blank is None else (blank.start(), blank.end())


def _trim(body: bytes) -> bytes:
    """Remove the line end that belongs to the delimiter."""
    if body.endswith(b"\r\n"):
        return body[:-2]
    return body[:-1] if body.endswith(b"\n") else body


def _is_whole(body: bytes) -> bool:
    """True if a text is complete by its own format."""
    if len(body) > _TRIED_BYTES:
        return False
    body = body.rstrip(b"\r\n \t")
    if body == b"Heartbeat" or _XML_END.search(body[-200:]):
        return True
    if not body.endswith(b"}"):
        return False
    opened = body.find(b"{")
    try:
        parse(body[opened:])
    except Unreadable:
        return False
    return True
