"""Checks that bytes are a complete JPEG, and extracts the first picture of an endless answer. Pure."""

import re

_BOUNDARY = re.compile(r"""boundary\s*=\s*(?:"([^"]{1,200})"|([^;\s]{1,200}))""", re.IGNORECASE)
_LENGTH = re.compile(rb"content-length\s*:\s*(\d{1,9})", re.IGNORECASE)
_BLANK = re.compile(rb"\r?\n\r?\n")
_HEADERS_BYTES = 4096
_PADDING = b"\x00\r\n \xff"
"""What cameras send after the end of a picture."""


def is_jpeg(data: bytes) -> bool:
    """True if it begins and ends like a JPEG; padding at the end is allowed."""
    return data.startswith(b"\xff\xd8\xff") and (
        data.endswith(b"\xff\xd9") or data.rstrip(_PADDING).endswith(b"\xff\xd9")
    )


def is_mixed(content_type: str) -> bytes | None:
    """The boundary of `multipart/x-mixed-replace`; None for other types."""
    if not content_type.lstrip().lower().startswith("multipart/"):
        return None
    found = _BOUNDARY.search(content_type[:1024])
    return (found[1] or found[2]).lstrip("-").encode("utf-8", "replace") if found else b""


def first_part(buffer: bytes | bytearray, boundary: bytes, searched: int = 0) -> bytes | None:
    """The body of the first part, once complete. `searched`: bytes of the buffer already searched for its end."""
    blank = _BLANK.search(buffer, 0, _HEADERS_BYTES)
    if blank is None:
        return None
    told = _LENGTH.search(buffer, 0, blank.start())
    if told is not None and int(told[1]) > 0:
        end = blank.end() + int(told[1])
        return bytes(buffer[blank.end() : end]) if len(buffer) >= end else None
    start = max(blank.end(), searched - len(boundary) - 2)
    end = buffer.find(b"--" + boundary, start) if boundary else -1
    return bytes(buffer[blank.end() : end]).rstrip(b"\r\n-") if end >= 0 else None
