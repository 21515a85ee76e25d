import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from gateway.local.http import Answer, Listener

PLAIN = "text/plain; charset=utf-8"


def good() -> Answer:
    return Answer(200, PLAIN, b"good\n")


def bad() -> Answer:
    return Answer(503, PLAIN, b"bad\n")


@asynccontextmanager
async def listening(**paths: Callable[[], Answer]) -> AsyncIterator[Listener]:
    listener = Listener("127.0.0.1", 0, {f"/{name}": say for name, say in paths.items()})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.run(), name="http")
        async with asyncio.timeout(5):
            await listener.listening.wait()
        yield listener
        task.cancel()


async def raw(port: int, data: bytes, timeout: float = 5.0) -> bytes:
    """What comes until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(timeout):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_it_answers() -> None:
    async with listening(metrics=good, healthz=bad) as listener, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{listener.port}/metrics") as response:
            assert (response.status, await response.read()) == (200, b"good\n")
            assert response.headers["Content-Type"] == PLAIN
            assert response.headers["Server"] == "site-gateway"
        async with session.get(f"http://127.0.0.1:{listener.port}/healthz") as response:
            assert response.status == 503


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"HEAD /metrics HTTP/1.1", b"405"),
        (b"PUT /metrics HTTP/1.1", b"405"),
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /../metrics HTTP/1.1", b"404"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"400"),
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 9000, b"400"),
        (b"GET /metrics HTTP/1.1\r\n" + b"\r\n".join(b"X%d: 1" % number for number in range(64)), b"400"),
    ],
)
async def test_it_takes_nothing_else(request_line: bytes, status: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(metrics=good) as listener:
        answer = await raw(listener.port, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")

        assert answer.split(b"\r\n")[0].split(b" ")[1] == status
        assert caplog.records == [], "whoever knocks wrongly cannot fill the log"
        assert b"good" in await raw(listener.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def test_an_error_of_ours_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Answer:
        raise RuntimeError("broken")

    async with listening(metrics=broken) as listener:
        answer = await raw(listener.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert b" 500 " in answer
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]] == [
        ("broken",)
    ]


async def test_a_body_is_not_read() -> None:
    async with listening(metrics=good) as listener:
        head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        assert b"good" in await raw(listener.port, head + b"x" * 100_000)


async def test_no_more_than_so_many_at_once() -> None:
    async with listening(metrics=good) as listener:
        open_ones = []
        for _ in range(16):
            open_ones.append(await asyncio.open_connection("127.0.0.1", listener.port))
            open_ones[-1][1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await open_ones[-1][0].readuntil(b"good\n")

        assert await raw(listener.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        for _, writer in open_ones:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while b"good" not in await raw(
                listener.port, b"GET /metrics HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n"
            ):
                pass


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.http._LIFETIME", 0.2)
    async with listening(metrics=good) as listener:
        assert await raw(listener.port, b"") == b""
        assert await raw(listener.port, b"GET /metrics HTTP/1.1\r\nX-Slow: ") == b""


async def test_a_port_that_is_taken_is_taken_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.http._AGAIN", 0.05)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listener = Listener("127.0.0.1", taken.getsockname()[1], {"/metrics": good})
        async with asyncio.TaskGroup() as group:
            task = group.create_task(listener.run(), name="http")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await listener.listening.wait()
            taken.close()
            async with asyncio.timeout(5):
                await listener.listening.wait()
            task.cancel()


async def test_it_ends_at_once_with_open_connections() -> None:
    async with listening(metrics=good) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"good\n")
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 1.0
    writer.close()


@pytest.mark.parametrize(
    "raw", [b"BAD\r\n\r\n", b"GET /metrics HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"\x16\x03\x01\r\n\r\n"]
)
async def test_no_answer_names_the_library(raw: bytes) -> None:
    """Not even the one to what is no HTTP."""
    async with listening(metrics=good) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(raw)
        said = (await asyncio.wait_for(reader.read(4096), 5)).lower()
        writer.close()
    assert said.startswith(b"http/1.0 400")
    assert b"python" not in said
    assert b"aiohttp" not in said
