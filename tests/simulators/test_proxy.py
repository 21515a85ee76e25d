import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from simulators.proxy import Proxy

pytestmark = pytest.mark.usefixtures("clients")
_clients: list[asyncio.StreamWriter] = []
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that says back what it is told, in capitals, and keeps what it was told by connection."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[bytes] = []
        self.ends: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.heard)
        self.heard.append(b"")
        try:
            while data := await reader.read(1 << 16):
                self.heard[number] += data
                writer.write(data.upper())
                await writer.drain()
            self.ends.append("end")
        except ConnectionError:
            self.ends.append("reset")
        finally:
            writer.close()

    async def until(self, heard: list[bytes]) -> None:
        async with asyncio.timeout(5):
            while self.heard != heard:
                await asyncio.sleep(0.005)

    async def ended(self, how: str) -> None:
        async with asyncio.timeout(5):
            while self.ends != [how]:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def standing() -> AsyncIterator[tuple[Echo, Proxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.talk, "127.0.0.1", 0)
    async with server:
        echo.port = server.sockets[0].getsockname()[1]
        async with Proxy(echo.port) as proxy:
            yield echo, proxy
        async with asyncio.timeout(5):
            while len(echo.ends) < len(echo.heard):
                await asyncio.sleep(0.005)


@pytest.fixture
async def clients() -> AsyncIterator[list[asyncio.StreamWriter]]:
    """What `connect` opened; closed at the end."""
    _clients.clear()
    yield _clients
    for writer in _clients:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def connect(proxy: Proxy) -> Pair:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    _clients.append(writer)
    return reader, writer


async def ask(pair: Pair, words: bytes) -> bytes:
    reader, writer = pair
    writer.write(words)
    async with asyncio.timeout(5):
        return await reader.readexactly(len(words))


async def silent(pair: Pair, seconds: float = 0.2) -> bool:
    """Nothing comes, and no end."""
    try:
        async with asyncio.timeout(seconds):
            await pair[0].read(1)
    except TimeoutError:
        return True
    return False


async def is_reset(pair: Pair) -> bool:
    try:
        async with asyncio.timeout(5):
            while await pair[0].read(1 << 16):
                pass
    except ConnectionResetError:
        return True
    return False


async def test_it_passes_on() -> None:
    async with standing() as (echo, proxy):
        pairs = [await connect(proxy) for _ in range(3)]
        assert [await ask(pair, b"fire") for pair in pairs] == [b"FIRE"] * 3
        assert (proxy.accepted, proxy.passed) == (3, 24)
        pairs[0][1].write_eof()
        assert await pairs[0][0].read() == b""
        await echo.ended("end")


async def test_it_passes_on_much() -> None:
    words = bytes(range(65, 91)) * 100_000
    async with standing() as (echo, proxy):
        pair = await connect(proxy)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            answer = group.create_task(pair[0].readexactly(len(words)), name="answer")
            pair[1].write(words)
            await pair[1].drain()
        assert answer.result() == words
        assert echo.heard == [words]


async def test_cut_resets_both_sides_and_new_ones_work() -> None:
    async with standing() as (echo, proxy):
        pair = await connect(proxy)
        await ask(pair, b"a")
        proxy.cut()
        assert await is_reset(pair)
        await echo.ended("reset")
        assert await ask(await connect(proxy), b"b") == b"B"


async def test_stall_takes_and_delivers_later() -> None:
    async with standing() as (echo, proxy):
        old = await connect(proxy)
        await ask(old, b"a")
        proxy.stall()
        new = await connect(proxy)
        old[1].write(b"b")
        new[1].write(b"c")
        assert await silent(old)
        await echo.until([b"a", b""])
        proxy.restore()
        assert await old[0].readexactly(1) == b"B"
        assert await new[0].readexactly(1) == b"C"


async def test_a_stall_is_bounded() -> None:
    async with standing() as (_, proxy):
        pair = await connect(proxy)
        proxy.stall()
        pair[1].write(bytes(64 << 20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await pair[1].drain()
        assert proxy.passed == 0


async def test_a_black_hole_answers_nobody() -> None:
    async with standing() as (echo, proxy):
        old = await connect(proxy)
        await ask(old, b"a")
        proxy.black_hole()
        new = await connect(proxy)
        old[1].write(b"b")
        new[1].write(b"c")
        assert await silent(old)
        assert await silent(new)
        await echo.until([b"a"])
        proxy.restore()
        assert await old[0].readexactly(1) == b"B"
        assert await new[0].readexactly(1) == b"C"


async def test_who_gave_up_in_a_black_hole_is_forgotten() -> None:
    async with standing() as (echo, proxy):
        proxy.black_hole()
        for _ in range(3):
            _, writer = await connect(proxy)
            writer.write(b"stale")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while proxy.accepted < 3:
                await asyncio.sleep(0.005)
        proxy.restore()
        assert await ask(await connect(proxy), b"fresh") == b"FRESH"
        assert echo.heard == [b"fresh"]


async def test_slow_keeps_to_its_speed() -> None:
    async with standing() as (_, proxy):
        pair = await connect(proxy)
        proxy.slow(10_000)
        began = time.monotonic()
        async with asyncio.timeout(10):
            pair[1].write(b"x" * 4000)
            await pair[0].readexactly(4000)
        assert 0.35 < time.monotonic() - began < 3.0
        proxy.restore()
        assert await ask(pair, b"y" * 100_000) == b"Y" * 100_000


async def test_half_close_ends_the_answers_only() -> None:
    async with standing() as (echo, proxy):
        pair = await connect(proxy)
        await ask(pair, b"a")
        proxy.half_close()
        assert await pair[0].read() == b""
        pair[1].write(b"b")
        await echo.until([b"ab"])
        assert await ask(await connect(proxy), b"c") == b"C"


async def test_refuse_and_the_same_port_again() -> None:
    async with standing() as (_, proxy):
        pair, port = await connect(proxy), proxy.port
        await ask(pair, b"a")
        proxy.refuse()
        assert await is_reset(pair)
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        proxy.restore()
        assert proxy.port == port
        assert await ask(await connect(proxy), b"b") == b"B"


@pytest.mark.parametrize("pieces", [[b"0123456789"], [b"0123", b"456789"], [b"012345", b"6789"]])
async def test_a_reset_in_a_packet(pieces: list[bytes]) -> None:
    async with standing() as (echo, proxy):
        pair = await connect(proxy)
        await ask(pair, b"abc")
        proxy.reset_in_packet(6)
        for piece in pieces:
            pair[1].write(piece)
            await asyncio.sleep(0.05)
        assert await is_reset(pair)
        await echo.ended("reset")
        assert echo.heard == [b"abc012345"]
        assert await ask(await connect(proxy), b"again") == b"AGAIN", "it was for once"


async def test_a_target_that_is_not_there_resets() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with Proxy(taken.getsockname()[1]) as proxy:
            assert await is_reset(await connect(proxy))


async def test_leaving_ends_every_fault() -> None:
    for fault in ("black_hole", "stall", "refuse", "cut", "half_close"):
        async with standing() as (_, proxy):
            pair = await connect(proxy)
            await ask(pair, b"a")
            getattr(proxy, fault)()
        assert await is_reset(pair) or fault == "half_close"
