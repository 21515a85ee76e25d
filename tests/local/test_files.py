"""The page's own files: named by what is in them, and what is not ours is what its makers published."""

import asyncio
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from gateway.local.files import FOLDER, Files
from gateway.local.http import HttpRequest

VENDOR = FOLDER / "vendor"


def asked(path: str, **headers: str) -> HttpRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest("GET", path, {}, named, {}, "127.0.0.1", False, "localhost")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "words").mkdir()
    (tmp_path / "index.html").write_text('<script src="@STATIC@/page.js"></script>')
    (tmp_path / "page.js").write_text("x" * 1000)
    (tmp_path / "words" / "zh.json").write_text("{}")
    (tmp_path / "secret.pem").write_text("not for anybody")
    return tmp_path


def test_the_shell_names_its_files_by_their_hash(folder: Path) -> None:
    files = Files.load(folder)
    shell = asyncio.run(files.index(asked("/")))

    assert shell.body == f'<script src="/static/{files.hash}/page.js"></script>'.encode()
    (folder / "page.js").write_text("y")
    assert Files.load(folder).hash != files.hash


async def test_a_file_is_for_ever_and_packed_where_that_is_understood(folder: Path) -> None:
    files = Files.load(folder)
    path = f"/static/{files.hash}/page.js"
    plain = await files.file(asked(path))
    packed = await files.file(asked(path, Accept_Encoding="br, gzip;q=0.5"))
    refused = await files.file(asked(path, Accept_Encoding="gzip;q=0, br"))

    assert (plain.status, plain.body, plain.content_type) == (200, b"x" * 1000, "text/javascript; charset=utf-8")
    assert "immutable" in plain.headers["Cache-Control"]
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert refused.body == plain.body
    (folder / "page.js.gz").write_bytes(gzip.compress(b"built"))
    built = await Files.load(folder).file(asked(path, Accept_Encoding="gzip"))
    assert gzip.decompress(built.body) == b"built"


@pytest.mark.parametrize(
    "path", ["page.js/", "secret.pem", "../index.html", "", "words", "words/../page.js", "/etc/passwd", "index.html\0"]
)
async def test_what_is_not_in_the_table_is_not_there(folder: Path, path: str) -> None:
    files = Files.load(folder)

    assert (await files.file(asked(f"/static/{files.hash}/{path}"))).status == 404
    assert (await files.file(asked(f"/static/0000/{path}"))).status == 404
    assert (await files.file(asked(f"/static/{files.hash}/words/zh.json"))).status == 200


def test_what_is_not_ours_is_what_its_makers_published() -> None:
    packages = json.loads((VENDOR / "vendor.json").read_text())
    named = {
        f"{name}/{target}": file["sha256"]
        for name, package in packages.items()
        for target, file in package["files"].items()
    }
    there = {str(path.relative_to(VENDOR)): path for path in VENDOR.rglob("*") if path.is_file()}
    there.pop("vendor.json")

    assert there.keys() == named.keys()
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()} == named
    assert all(package["licence"] and package["version"] for package in packages.values())
