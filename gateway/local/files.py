"""The page's own files, under one hash of all of them, so that a browser may cache each forever."""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.local.http import HttpAnswer, HttpRequest

FOLDER = Path(__file__).parent / "static"
PREFIX = "/static/"
MARK = "@STATIC@"
"""Placeholder in `index.html` for the folder with the hash."""
_INDEX = "index.html"
_PACKED = ".gz"
_GZIP = re.compile(r"gzip(;q=(?!0(\.0*)?$)[0-9.]+)?")
"""RFC 9110, 12.5.3: `q=0` means "not acceptable"."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


class _File(NamedTuple):
    path: Path
    content_type: str
    packed: Path | None
    """The file gzipped at build time."""


class Files:
    """The files in `folder`, as they were at the start."""

    def __init__(self, folder: Path, hash_: str, files: Mapping[str, _File], index: bytes) -> None:
        self.hash = hash_
        self._folder = folder
        self._files = files
        self._index = index

    @classmethod
    def load(cls, folder: Path = FOLDER) -> "Files":
        """Read the folder. Raises OSError."""
        found = {
            str(path.relative_to(folder)): path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in _TYPES
        }
        digest = hashlib.sha256()
        for name, path in found.items():
            digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
        hash_ = digest.hexdigest()[:16]
        files = {}
        for name, path in found.items():
            packed = path.with_name(path.name + _PACKED)
            files[name] = _File(path, _TYPES[path.suffix], packed if packed.is_file() else None)
        index = found[_INDEX].read_text(encoding="utf-8").replace(MARK, PREFIX + hash_)
        return cls(folder, hash_, files, index.encode())

    async def index(self, _request: HttpRequest) -> HttpAnswer:
        """`GET /`."""
        return HttpAnswer(200, _TYPES[".html"], self._index)

    async def file(self, request: HttpRequest) -> HttpAnswer:
        """`GET /static/HASH/PATH`. Only files in the table made at the start exist."""
        hash_, _, name = request.path.removeprefix(PREFIX).partition("/")
        file = self._files.get(name) if hash_ == self.hash else None
        if file is None:
            return HttpAnswer(404, "text/plain; charset=utf-8", b"there is no such file\n")
        packs = takes_gzip(request)
        body = await asyncio.to_thread(_read, file, packs=packs)
        return HttpAnswer(
            200, file.content_type, body, {**_FOR_EVER, **({"Content-Encoding": "gzip"} if packs else {})}
        )


def takes_gzip(request: HttpRequest) -> bool:
    """True if the client accepts gzip."""
    offered = request.headers.get("Accept-Encoding", "").lower().replace(" ", "").split(",")
    return any(_GZIP.fullmatch(one) for one in offered)


def _read(file: _File, *, packs: bool) -> bytes:
    if not packs:
        return file.path.read_bytes()
    return file.packed.read_bytes() if file.packed is not None else gzip.compress(file.path.read_bytes(), 9, mtime=0)
