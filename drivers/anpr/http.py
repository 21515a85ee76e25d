"""HTTP/1.1 for the firmware of cameras: lenient where the meaning is certain, strict where it is not.

wire = Wire(reader, writer)
while (head := await wire.head(IDLE)) is not None:      # raises Refused
    body = await wire.body(head, most, is_whole)        # raises Refused
    await wire.answer(200, b"{}", "application/json", head.keeps)

Accepted in addition to RFC 9112: LF for CRLF, blanks at the end of the request line, empty lines before it, no Host,
folded headers, blanks around a header's colon, the same length twice, a length that is up to `MISSING_BYTES` too large,
no length at all, deflate and gzip. Refused: two different lengths, a length together with chunks, any coding except
chunks, a control character in the head. Limits: `HEAD_BYTES` and `LINES` of a head, `CHUNKS` chunks, the caller's
`most`.
"""

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from drivers.anpr.capture import Unreadable

HEAD_BYTES = 16 << 10
LINE_BYTES = 8 << 10
LINES = 64
CHUNKS = 8 << 10
MISSING_BYTES = 16
"""A body may be this much shorter than its Content-Length if it is complete by its own format."""
SILENT_S = 0.5
"""After this time without data, a body that is complete by its own format is accepted."""
FOLLOWS_S = 0.05
"""A body without a length must follow its head within this time."""
HEAD_WITHIN_S = 10.0
ANSWER_WITHIN_S = 10.0
LINGER_S = 0.5
PIECE_BYTES = 256 << 10
_BLANK_LINES = 8
_ASKED = 3
"""How often a short body is checked."""
_TURN = 64
"""Chunks read in one turn of the loop."""
_REQUEST = re.compile(rb"([A-Za-z]{1,16})[ \t]+(\S{1,8192})[ \t]+HTTP/1\.([01])[ \t]*")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,200})?")
_SLASHES = re.compile(r"/{2,}")
_SERVER = "site-gateway"
_ZLIB, _GZIP, _RAW = 15, 31, -15


class PushRefused(Exception):
    """A refused request: the status of the answer, and the name of its count."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request."""

    method: str
    path: str
    """Decoded, with single slashes."""
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case; the first of several counts."""
    length: int | None
    """Bytes of the body; None: chunks, or not given."""
    chunked: bool
    keeps: bool
    """The connection stays open."""


def parse_head(lines: list[bytes]) -> Head:
    """Parse a head from its lines, without line ends. Raises Refused."""
    found = _REQUEST.fullmatch(lines[0])
    if found is None or _CONTROL.search(lines[0]):
        raise PushRefused(400, "request-line")
    method, target, minor = found[1].decode().upper(), found[2].decode("utf-8", "replace"), found[3]
    many = _headers(lines[1:])
    headers = {name: values[0] for name, values in many.items()}
    length, chunked = _framing(many)
    tokens = {one.strip().lower() for value in many.get("connection", ()) for one in value.split(",")}
    path, _, query = _origin(target).partition("?")
    return Head(
        method,
        _SLASHES.sub("/", unquote(path)),
        _query(query),
        headers,
        length,
        chunked,
        "close" not in tokens and (minor == b"1" or "keep-alive" in tokens),
    )


def _origin(target: str) -> str:
    """The path of `http://host/path`, which proxies and some cameras send."""
    if target[:7].lower() == "http://":
        return "/" + target[7:].partition("/")[2]
    return target


def _query(query: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    try:
        for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=LINES):
            found.setdefault(name, value)
    except ValueError as error:
        raise PushRefused(400, "request-line") from error
    return found


def _headers(lines: list[bytes]) -> dict[str, list[str]]:
    """The values of each header; a line that begins with a blank continues the previous one."""
    found: dict[str, list[str]] = {}
    values: list[str] | None = None
    for line in lines:
        if _CONTROL.search(line):
            raise PushRefused(400, "header")
        if line[:1] in (b" ", b"\t"):
            if values is None:
                raise PushRefused(400, "header")
            values[-1] = f"{values[-1]} {line.strip().decode('utf-8', 'replace')}".strip()
            continue
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if not colon or _NAME.fullmatch(name) is None:
            raise PushRefused(400, "header")
        values = found.setdefault(name.decode().lower(), [])
        values.append(value.strip().decode("utf-8", "replace"))
    return found


def _framing(many: Mapping[str, list[str]]) -> tuple[int | None, bool]:
    """How the body ends: by length or by chunks. Raises Refused if parsers could differ."""
    codings, lengths = many.get("transfer-encoding"), many.get("content-length")
    if codings is not None:
        if lengths is not None or [one.lower() for one in codings] != ["chunked"]:
            raise PushRefused(400, "framing")
        return None, True
    if lengths is None:
        return None, False
    said = {one.strip() for value in lengths for one in value.split(",")}
    text = said.pop()
    if said or not text.isascii() or not text.isdigit():
        raise PushRefused(400, "framing")
    if len(text) > 12:
        raise PushRefused(413, "size")
    return int(text), False


def inflated(body: bytes, coding: str, most: int) -> bytes:
    """Decode the `Content-Encoding`. Raises Unreadable: another coding, damaged, or over `most` bytes."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    is_plain = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"<", b"{", b"[")
    if coding not in ("deflate", "gzip", "x-gzip"):
        if is_plain:  # some firmware names the character set here
            return body
        raise Unreadable("another content coding")
    # `deflate` means zlib; some send the bare stream.
    for kind in (_ZLIB, _RAW) if coding == "deflate" else (_GZIP,):
        unpacker = zlib.decompressobj(kind)
        try:
            found = unpacker.decompress(body, most + 1)
        except zlib.error:
            continue
        if len(found) > most:
            raise Unreadable("too large unpacked")
        if unpacker.eof:
            return found
    if is_plain:  # the coding is announced but not applied
        return body
    raise Unreadable("spoilt content coding")


class PushConnection:
    """One connection: requests in, answers out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        self.remote = str(peer[0]) if peer else ""
        self._reader = reader
        self._writer = writer
        self._fresh = True
        """Nothing has been received since the last answer."""
        self._spent = False
        """No further request will be read."""
        self._ahead = b""
        """Bytes of the next request that were read already."""

    @property
    def began(self) -> bool:
        """True if a request is under way."""
        return not self._fresh

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    async def head(self, idle_s: float) -> Head | None:
        """The next head; None: the connection ended, or nothing came for `idle_s`. Raises Refused."""
        self._fresh = True
        lines: list[bytes] = []
        size = blanks = 0
        try:
            async with asyncio.timeout(idle_s) as patience:
                first, self._ahead = self._ahead or await self._reader.read(1), b""
                if not first:
                    return None
                self._fresh = False
                patience.reschedule(asyncio.get_running_loop().time() + HEAD_WITHIN_S)
                while True:
                    line = first + await self._line() if first != b"\n" else first
                    first = b""
                    size += len(line)
                    text = line.rstrip(b"\r\n")
                    if not line.endswith(b"\n") or size > HEAD_BYTES or len(lines) > LINES:
                        raise PushRefused(400, "head")
                    if text:
                        lines.append(text)
                    elif lines:
                        return parse_head(lines)
                    elif (blanks := blanks + 1) > _BLANK_LINES:
                        raise PushRefused(400, "head")
        except TimeoutError as error:
            if self._fresh:
                return None
            raise PushRefused(408, "slow") from error
        except ConnectionError as error:
            if self._fresh:
                return None
            raise PushRefused(400, "broken") from error

    async def _line(self) -> bytes:
        """Read up to the next LF or the end. Raises Refused if too long."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError as error:
            raise PushRefused(400, "head") from error

    async def body(self, head: Head, most: int, is_whole: Callable[[bytes], Awaitable[bool]]) -> bytes:
        """Read the body. Raises Refused: over `most` bytes, broken off, or invalid HTTP.

        `is_whole`: called for a body that is a few bytes short, or has no length, when nothing more comes. A
        function, as a connection knows no maker's form.
        """
        if head.chunked:
            return await self._chunks(most)
        pieces: list[bytes] = []
        if head.length is None and (head.method == "GET" or "content-type" not in head.headers):
            pieces = await self._begun() if head.method != "GET" else []
            if not pieces:
                return b""
        left = (most + 1 if head.length is None else head.length) - len(pieces)
        asked = 0
        while left:
            may_be_short = (head.length is None or left <= MISSING_BYTES) and asked < _ASKED
            try:
                async with asyncio.timeout(SILENT_S if may_be_short else None):
                    piece = await self._reader.read(min(left, PIECE_BYTES))
            except TimeoutError:
                piece = None
            if not piece:
                asked += 1
                if may_be_short and await self._is_all(head, b"".join(pieces), is_whole):
                    return b"".join(pieces)
                if piece is not None:
                    raise PushRefused(400, "broken")
                continue
            pieces.append(piece)
            left -= len(piece)
        if head.length is None:
            raise PushRefused(413, "size")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _begun(self) -> list[bytes]:
        """The first byte of a body without a length, if it follows at once and cannot begin a request."""
        try:
            async with asyncio.timeout(FOLLOWS_S):
                first = await self._reader.read(1)
        except TimeoutError:
            return []
        if first in (b"<", b"{", b"[", b"-"):
            return [first]
        self._ahead = first
        return []

    async def _is_all(self, head: Head, body: bytes, is_whole: Callable[[bytes], Awaitable[bool]]) -> bool:
        """True if nothing more comes and this is a complete body. What follows is then not read as another request."""
        found = (head.length is None and not body) or (bool(body) and await is_whole(body))
        self._spent = self._spent or found
        return found

    async def _chunks(self, most: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for number in range(CHUNKS):
            found = _CHUNK.fullmatch((await self._line()).rstrip(b"\r\n"))
            if found is None:
                raise PushRefused(400, "broken")
            length = int(found[1], 16)
            if not length:
                await self._trailers()
                return b"".join(pieces)
            size += length
            if size > most:
                raise PushRefused(413, "size")
            try:
                pieces.append(await self._reader.readexactly(length))
            except asyncio.IncompleteReadError as error:
                raise PushRefused(400, "broken") from error
            if (await self._line()).rstrip(b"\r\n"):
                raise PushRefused(400, "broken")
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
        raise PushRefused(413, "size")

    async def _trailers(self) -> None:
        for _ in range(LINES):
            if not (await self._line()).rstrip(b"\r\n"):
                return
        raise PushRefused(400, "broken")

    async def go_on(self) -> None:
        """Tell the camera to send its body (`Expect: 100-continue`)."""
        self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def answer(self, status: int, body: bytes, content_type: str, *, keeps: bool) -> bool:
        """Send an answer. True: the connection stays open; else it is closed once the other side has read it."""
        keeps = keeps and not self._spent and not self._reader.at_eof()
        phrase = HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {phrase}\r\nServer: {_SERVER}\r\nDate: {formatdate(usegmt=True)}\r\n"
        if content_type:
            head += f"Content-Type: {content_type}\r\n"
        head += f"Content-Length: {len(body)}\r\n" + ("" if keeps else "Connection: close\r\n")
        self._writer.write(head.encode() + b"\r\n" + body)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await self._writer.drain()
        return keeps

    async def linger(self) -> None:
        """Read and drop data for a moment, or the answer would be lost with the reset of the connection."""
        try:
            async with asyncio.timeout(LINGER_S):
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await self._reader.read(PIECE_BYTES):
                    pass
        except (TimeoutError, OSError):
            return

    def close(self) -> None:
        """Close it."""
        self._writer.close()
