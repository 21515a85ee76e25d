"""`doctor` on Modbus TCP: it says what came where no answer, or more than an answer, came."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from drivers.modbus.frames import crc16
from tests.drivers.modbus.stranger import Says, Stranger, body, frame, right
from tests.technician.command import site_gateway

SITE = """
version: 1
site: {{id: s}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:1"}}
store: {{path: "{store}"}}
lines:
  net: {{driver: modbus, tcp: "127.0.0.1:{port}"}}
devices:
  d: {{line: net, unit: 1, limits: {{timeout: 50ms}}, points: {{p: {{at: holding 3}}, q: {{at: holding 900}}}}}}
"""


async def said_of(tmp_path: Path, script: Callable[[bytes], Iterable[Says]], greeting: Iterable[Says] = ()) -> str:
    """What `doctor` says of a line whose server does that."""
    async with Stranger(script, greeting=greeting).serving() as server:
        path = tmp_path / "site.yaml"
        path.write_text(SITE.format(store=tmp_path / "store", port=server.port))
        async with asyncio.timeout(60):
            return (await site_gateway("doctor", path)).out


@pytest.mark.parametrize(
    ("bytes_", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "a web server"),
        (bytes.fromhex("15 03 03 00 02 02 28"), "TLS"),
        (b"\1\3\2\0\x07" + crc16(b"\1\3\2\0\x07"), "`framing: rtu`"),
        (b"\x7eHB\r\n", "7e 48 42"),
        (b"login: ", "login: "),
    ],
    ids=["http", "tls", "rtu", "heart-beat", "telnet"],
)
async def test_what_comes_instead_of_answers_is_named(tmp_path: Path, bytes_: bytes, words: str) -> None:
    said = await said_of(tmp_path, lambda _: [bytes_])
    assert "wrong line net: " in said
    assert "bytes come back, and no answer: " in said
    assert words in said


async def test_a_connection_that_says_nothing_is_named(tmp_path: Path) -> None:
    assert "not a byte comes back" in await said_of(tmp_path, lambda _: [])


async def test_what_comes_beside_answers_is_named(tmp_path: Path) -> None:
    said = await said_of(tmp_path, lambda request: [b"\x7eHB\r\n", right(request)])
    assert "bytes that are no answer, at " in said
    assert "7e 48 42 0d 0a" in said


async def test_an_odd_identity_is_told(tmp_path: Path) -> None:
    said = await said_of(tmp_path, lambda request: [frame(0, b"\xff" + body(request)[1:])])
    assert "transaction id always 0, unit always 255" in said
    assert "does not answer" not in said
