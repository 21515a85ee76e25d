"""Multipart bodies of cameras (RFC 2046, 5.1, read leniently). Pure.

Tolerated: the boundary line twice, LF for CRLF, no end, a boundary that begins with dashes or differs from the header,
parts without headers, lengths that are zero or wrong.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from drivers.anpr.capture import Unreadable

PARTS = 64
HEADERS_BYTES = 8 << 10
_LONGEST_BOUNDARY = 200
_TRIES = 1000
"""The most places in one part that look like a boundary and are not; a JPEG practically never has one."""
_BOUNDARY = re.compile(r"""boundary\s*=\s*(?:"([^"]{1,200})"|([^;\s]{1,200}))""", re.IGNORECASE)
_FIRST_LINE = re.compile(rb"\s{0,16}--([^\r\n]{1,200}?)[ \t]{0,64}\r?\n")
_BLANK = re.compile(rb"\r?\n[ \t]*\r?\n")
_HEADER = re.compile(rb"[!#-'*+\-.0-9A-Z^-z|~]{1,64}[ \t]*:")
_NAMED = re.compile(r"""(filename|name)\s*=\s*(?:"([^"]{0,200})"|([^;\s"]{1,200}))""", re.IGNORECASE)
_LED = re.compile(rb"(?:\r?\n){1,2}(?=content-[a-z]{1,32}[ \t]*:)", re.IGNORECASE)
_BEFORE = b"\n\xd9}>"
"""The byte before a delimiter: a line end, or the end of a JPEG, JSON or XML if the camera omitted the line end."""


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part with its unchanged body."""

    body: bytes = field(repr=False)
    content_type: str = ""
    """In lower case, without parameters."""
    name: str = ""
    filename: str = ""

    @property
    def label(self) -> str:
        """Its name, or else its file name, in lower case."""
        return (self.name or self.filename).lower()


def is_multipart(content_type: str, body: bytes) -> bool:
    """True by the header, or if the body begins with a boundary line; never for bare XML or JSON."""
    if body[:64].lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"<", b"{", b"["):
        return False
    return content_type.lstrip()[:10].lower() == "multipart/" or (
        body[:64].lstrip()[:2] == b"--" and _FIRST_LINE.match(body) is not None
    )


def boundary_of(content_type: str) -> bytes | None:
    """The boundary in a header."""
    found = _BOUNDARY.search(content_type[:1024])
    return (found[1] or found[2]).encode("utf-8", "replace") if found else None


def parts(body: bytes, content_type: str) -> tuple[FormPart, ...]:
    """The parts in order, without empty ones. Raises Unreadable: no boundary, too many parts or places."""
    delimiter = _delimiter(body, boundary_of(content_type))
    found = []
    for raw in _split(body, delimiter):
        part = read(raw)
        if part.body or part.name:
            found.append(part)
            if len(found) > PARTS:
                raise Unreadable("too many parts")
    return tuple(found)


def read(raw: bytes) -> FormPart:
    """Parse a part with its headers."""
    headers, body = split_headers(raw)
    return FormPart(body, **headers_of(headers))


def split_headers(raw: bytes) -> tuple[bytes, bytes]:
    """Split headers and body. If it does not begin with a header, everything is body."""
    raw = raw[leading(raw) :]
    if raw[:1] == b"\n" or raw[:2] == b"\r\n":
        return b"", raw[1 if raw[:1] == b"\n" else 2 :]
    if _HEADER.match(raw) is None:
        return b"", raw
    blank = _BLANK.search(raw, 0, HEADERS_BYTES)
    if blank is None:
        return raw[:HEADERS_BYTES], b""
    return raw[: blank.start()], raw[blank.end() :]


def leading(raw: bytes | bytearray, start: int = 0) -> int:
    """The number of bytes of empty lines between boundary and headers."""
    found = _LED.match(raw, start)
    return found.end() - start if found else 0


def headers_of(raw: bytes) -> dict[str, str]:
    """Content type and names from the headers."""
    found = {"content_type": "", "name": "", "filename": ""}
    for line in raw.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        match key.strip().lower():
            case "content-type":
                found["content_type"] = value.partition(";")[0].strip().lower()[:100]
            case "content-disposition":
                for label, quoted, bare in _NAMED.findall(value[:1024]):
                    found[label.lower()] = (quoted or bare)[:100]
    return found


def length_of(headers: bytes) -> int:
    """Content-Length; 0 if missing or unusable."""
    found = re.search(rb"^content-length[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", headers, re.IGNORECASE | re.MULTILINE)
    return int(found[1]) if found else 0


def _delimiter(body: bytes, boundary: bytes | None) -> bytes:
    """The delimiter that the body really uses."""
    if boundary:
        for candidate in (b"--" + boundary, boundary if boundary.startswith(b"--") else b""):
            if candidate and next(_places(body, candidate), None) is not None:
                return candidate
    line = _FIRST_LINE.match(body)
    if line is None:
        raise Unreadable("no boundary in the body")
    return b"--" + line[1].removesuffix(b"--")


def _places(body: bytes, delimiter: bytes, start: int = 0) -> Iterator[int]:
    """Where delimiter lines begin: at a line start or right after a complete part, with nothing else on the line."""
    at = body.find(delimiter, start)
    tries = 0
    while at >= 0:
        if (tries := tries + 1) > _TRIES:
            raise Unreadable("too many boundaries that are none")
        if (at == 0 or body[at - 1] in _BEFORE) and ends(body, at + len(delimiter)):
            yield at
        at = body.find(delimiter, at + 1)


def ends(body: bytes, end: int) -> bool:
    """True if a delimiter is followed by a line end, the two dashes of the last one, or nothing."""
    rest = body[end : end + 2]
    if rest == b"--":
        return body[end + 2 : end + 3] in (b"\r", b"\n", b" ", b"")
    return rest[:1] in (b"", b"\r", b"\n") or not body[end : end + 40].partition(b"\n")[0].strip()


def _split(body: bytes, delimiter: bytes) -> Iterator[bytes]:
    """The bytes between delimiters; a part with a correct Content-Length may contain a delimiter."""
    place = next(_places(body, delimiter), None)
    for _ in range(4 * PARTS):
        if place is None or body[place + len(delimiter) : place + len(delimiter) + 2] == b"--":
            return
        line = body.find(b"\n", place + len(delimiter))
        if line < 0:
            return
        start = line + 1
        told = _told(body, start, delimiter)
        if told is not None:
            end, place = told
            yield body[start:end]
            continue
        place = next(_places(body, delimiter, start), None)
        yield body[start:] if place is None else _without_line_end(body[start:place])
    raise Unreadable("too many parts")


def _told(body: bytes, start: int, delimiter: bytes) -> tuple[int, int | None] | None:
    """The end of a part by its Content-Length, and the next delimiter, if one follows there (or nothing)."""
    start += leading(body, start)
    if _HEADER.match(body, start) is None:
        return None
    blank = _BLANK.search(body, start, start + HEADERS_BYTES)
    if blank is None:
        return None
    length = length_of(body[start : blank.start()])
    end = blank.end() + length
    if not length or end > len(body):
        return None
    rest = body[end : end + 2]
    after = end + (2 if rest == b"\r\n" else 1 if rest[:1] == b"\n" else 0)
    if after == len(body):
        return end, None
    return (end, after) if body.startswith(delimiter, after) else None


def _without_line_end(raw: bytes) -> bytes:
    """Remove the line end before a delimiter, which belongs to the delimiter."""
    if raw.endswith(b"\r\n"):
        return raw[:-2]
    return raw[:-1] if raw.endswith(b"\n") else raw
