import asyncio
import gc
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.local.http import HttpAnswer, HttpRequest, HttpServer, Respond, Route, Streaming, StreamOut
from gateway.technician.certificate import make

PLAIN = "text/plain; charset=utf-8"


async def good(_request: HttpRequest) -> HttpAnswer:
    return HttpAnswer(200, PLAIN, b"good\n")


async def bad(_request: HttpRequest) -> HttpAnswer:
    return HttpAnswer(503, PLAIN, b"bad\n")


async def echo(request: HttpRequest) -> HttpAnswer:
    return HttpAnswer(200, PLAIN, request.body)


@asynccontextmanager
async def listening(**paths: Respond) -> AsyncIterator[HttpServer]:
    async with serving({f"/{name}": Route(get=say, any_host=True) for name, say in paths.items()}) as listener:
        yield listener


@asynccontextmanager
async def serving(routes: Mapping[str, Route], names: frozenset[str] = frozenset()) -> AsyncIterator[HttpServer]:
    listener = HttpServer("127.0.0.1", 0, routes, names=names)
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
    async def broken(_request: HttpRequest) -> HttpAnswer:
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
    """Who is being answered goes for nobody, who only waits does."""
    ask = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
    asked, go = asyncio.Semaphore(0), asyncio.Event()

    async def slow(_request: HttpRequest) -> HttpAnswer:
        asked.release()
        await go.wait()
        return HttpAnswer(200, PLAIN, b"slow\n")

    async with listening(metrics=good, slow=slow) as listener:
        served = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(15)]
        for _, writer in served:
            writer.write(ask % b"slow")
            await asyncio.wait_for(asked.acquire(), 5)
        waiting = await asyncio.open_connection("127.0.0.1", listener.port)
        waiting[1].write(ask % b"metrics")
        await waiting[0].readuntil(b"good\n")
        more = await asyncio.open_connection("127.0.0.1", listener.port)
        more[1].write(ask % b"slow")
        await asyncio.wait_for(asked.acquire(), 5)
        assert await asyncio.wait_for(waiting[0].read(), 5) == b""

        assert await raw(listener.port, ask % b"metrics") == b"", "sixteen are being answered"
        go.set()
        waiting[1].close()
        for reader, writer in (*served, more):
            await asyncio.wait_for(reader.readuntil(b"slow\n"), 5)
            writer.close()
        assert b"good" in await raw(listener.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def test_of_a_connection_that_is_reset_nothing_stays() -> None:
    asked = asyncio.Event()

    async def never(_request: HttpRequest) -> HttpAnswer:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    def kept() -> int:
        gc.collect()
        return sum(type(one).__name__ == "_HttpConnection" for one in gc.get_objects())

    async with listening(metrics=never) as listener:
        before = kept()
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(asked.wait(), 5)
        assert kept() == before + 1
        writer.transport.abort()
        for _ in range(2):  # the last one that was accepted is held anyway
            await raw(listener.port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            while kept() > before + 1:
                await asyncio.sleep(0.05)


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.http._LIFETIME_S", 0.2)
    async with listening(metrics=good) as listener:
        assert await raw(listener.port, b"") == b""
        assert await raw(listener.port, b"GET /metrics HTTP/1.1\r\nX-Slow: ") == b""


async def test_a_port_that_is_taken_is_taken_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.http._RETRY_S", 0.05)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listener = HttpServer("127.0.0.1", taken.getsockname()[1], {"/metrics": Route(get=good, any_host=True)})
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


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:{port}", 200),
        ("localhost:1234", 200),
        ("LocalHost", 200),
        ("box.lan", 200),
        ("evil.example", 421),
        ("127.0.0.2", 421),
        ("localhost.evil.example", 421),
        ("[::1]", 421),
        ("", 421),
        ("127.0.0.1.evil.example:80", 421),
    ],
)
async def test_a_host_that_is_not_this_box_is_refused(host: str, status: int) -> None:
    async with serving({"/state": Route(get=good)}, names=frozenset({"box.lan"})) as listener:
        said = await raw(
            listener.port,
            f"GET /state HTTP/1.1\r\nHost: {host.format(port=listener.port)}\r\nConnection: close\r\n\r\n".encode(),
        )

    assert int(said.split()[1]) == status


async def test_every_answer_has_the_policy() -> None:
    async with serving({"/state": Route(get=good)}) as listener:
        for path in ("/state", "/nothing"):
            head = await raw(
                listener.port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            assert b"require-trusted-types-for 'script'" in head
            assert b"frame-ancestors 'none'" in head
            assert b"X-Content-Type-Options: nosniff" in head
            assert b"no-store" in head


async def test_a_body_is_bounded_whether_it_says_its_length_or_not() -> None:
    async with serving({"/do": Route(post=echo, body=10)}) as listener:
        head = b"POST /do HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        assert (await raw(listener.port, head + b"Content-Length: 10\r\n\r\n0123456789")).endswith(b"0123456789")
        for more in (
            b"Content-Length: 1000000000\r\n\r\n" + b"x" * 100,
            b"Transfer-Encoding: chunked\r\n\r\n" + b"8\r\n01234567\r\n" * 3,
        ):
            assert b" 413 " in (await raw(listener.port, head + more)).split(b"\r\n")[0]


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.http._LIFETIME_S", 0.2)
    async with serving({"/do": Route(post=echo)}) as listener:
        said = await raw(listener.port, b"POST /do HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n0")

    assert b" 408 " in said


async def test_a_path_that_stands_for_many() -> None:
    async def named(request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(200, PLAIN, request.path.encode())

    async with serving({"/pictures/": Route(get=named)}) as listener:
        for path, status in (
            ("/pictures/a", 200),
            ("/pictures/a/../b", 200),
            ("/pictures", 404),
            ("/x/pictures/a", 404),
        ):
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            assert int((await raw(listener.port, head)).split()[1]) == status


async def test_a_stream_goes_on_beyond_the_time_of_a_request_and_is_no_connection_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.local.http._LIFETIME_S", 0.2)

    async def count(out: StreamOut) -> None:
        for number in range(20):
            await out.send(b"%d\n" % number)
            await asyncio.sleep(0.05)

    async def stream(_request: HttpRequest) -> Streaming:
        return Streaming(PLAIN, count)

    async with serving({"/events": Route(get=stream), "/state": Route(get=good)}) as listener:
        events = b"GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        async with asyncio.TaskGroup() as group:
            streams = [group.create_task(raw(listener.port, events), name="stream") for _ in range(14)]
            await asyncio.sleep(0.3)
            streams += [group.create_task(raw(listener.port, events), name="stream") for _ in range(14)]
            await asyncio.sleep(0.1)
            head = b"GET /state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            assert b"good" in await raw(listener.port, head)
        assert all(b"19\n" in one.result() for one in streams)


async def test_a_reader_that_takes_nothing_is_closed_and_a_slow_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.http._TAKES_NOTHING_S", 0.3)
    ends: list[str] = []

    async def much(out: StreamOut) -> None:
        end = "gone"
        try:
            await out.send(b"x" * (2 << 20))
            end = "whole"
        finally:
            ends.append(end)

    async def stream(_request: HttpRequest) -> Streaming:
        return Streaming(PLAIN, much)

    async with serving({"/events": Route(get=stream)}) as listener:
        for slow in (True, False):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, ("127.0.0.1", listener.port))
                await loop.sock_sendall(client, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                async with asyncio.timeout(20):
                    while slow and len(ends) == 0:
                        await loop.sock_recv(client, 64 << 10)
                        await asyncio.sleep(0.01)
                    while len(ends) < 2 and not slow:
                        await asyncio.sleep(0.02)
    assert ends == ["whole", "gone"]


async def test_where_all_are_taken_who_waits_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.places.PLACES", 4)

    async def connected(source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", listener.port, local_addr=(source, 0))

    async with listening(metrics=good) as listener:
        many = [await connected("127.0.0.1") for _ in range(3)]
        other = await connected("127.0.0.2")
        await asyncio.sleep(0.05)
        reader, writer = await connected("127.0.0.3")
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await asyncio.wait_for(reader.readline(), 5)
        assert await asyncio.wait_for(many[0][0].read(), 5) == b"", "the first of who has most"
        other[1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await asyncio.wait_for(other[0].readline(), 5)
        for _, open_one in (*many, other, (reader, writer)):
            open_one.close()


async def test_a_certificate_that_is_renewed_is_taken_and_one_that_is_gone_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.local.http._RENEW_S", 0.05)
    pair = (tmp_path / "page.crt", tmp_path / "page.key")
    prints = [write_pair(pair)]
    listener = HttpServer("127.0.0.1", 0, {"/state": Route(get=good)}, pair)
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE

    async def shown() -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return hashlib.sha256(found).hexdigest()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.run(), name="http")
        async with asyncio.timeout(5):
            await listener.listening.wait()
        assert await shown() == prints[0]
        told = ""
        for count in (1, 2):
            if count == 1:
                pair[0].unlink()
            else:
                pair[0].write_text("broken")
            async with asyncio.timeout(10):
                while told.count("keeps its old certificate") < count:
                    await asyncio.sleep(0.02)
                    told += "".join(capfd.readouterr())
            assert await shown() == prints[0]
        prints.append(write_pair(pair))
        async with asyncio.timeout(5):
            while await shown() != prints[1]:
                await asyncio.sleep(0.02)
        task.cancel()
    told += "".join(capfd.readouterr())
    assert told.count("keeps its old certificate") == 2


def write_pair(pair: tuple[Path, Path]) -> str:
    """Its fingerprint."""
    made = make(["127.0.0.1"])
    pair[1].write_bytes(made.key)
    pair[0].write_bytes(made.certificate)
    return made.fingerprint.replace(":", "").lower()


TRUST = ssl.create_default_context()
TRUST.check_hostname, TRUST.verify_mode = False, ssl.CERT_NONE


@asynccontextmanager
async def over_tls(folder: Path, **routes: Route) -> AsyncIterator[HttpServer]:
    pair = (folder / "page.crt", folder / "page.key")
    write_pair(pair)
    listener = HttpServer("127.0.0.1", 0, {f"/{name}": route for name, route in routes.items()}, pair)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.run(), name="http")
        async with asyncio.timeout(5):
            await listener.listening.wait()
        yield listener
        task.cancel()


async def asked_over_tls(port: int, source: str) -> bytes:
    """What somebody gets who only wants the state."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=TRUST, local_addr=(source, 0))
        writer.write(b"GET /state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        told = await reader.read()
        writer.close()
    return told


@pytest.mark.parametrize("addresses", [1, 20, 120])
@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "part of a hello"])
async def test_half_open_handshakes_keep_nobody_out(tmp_path: Path, addresses: int, begun: bytes) -> None:
    async with over_tls(tmp_path, state=Route(get=good)) as listener:
        half = []
        for number in range(120):
            source = f"127.0.6.{number % addresses + 1}"
            half.append(await asyncio.open_connection("127.0.0.1", listener.port, local_addr=(source, 0)))
            half[-1][1].write(begun)
        for _ in range(5):
            assert (await asked_over_tls(listener.port, "127.0.0.7")).endswith(b"good\n")
        assert (await asked_over_tls(listener.port, "127.0.6.1")).endswith(b"good\n"), "also beside 16 of that address"
        for _, writer in half:
            writer.transport.abort()


@pytest.mark.parametrize(
    "drip",
    [b"GET /state HTTP/1.1\r\nX: ", b"POST /do HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n"],
    ids=["header", "body"],
)
async def test_requests_that_trickle_keep_nobody_out(drip: bytes) -> None:
    async with serving({"/state": Route(get=good), "/do": Route(post=echo)}) as listener:
        slow = [
            await asyncio.open_connection("127.0.0.1", listener.port, local_addr=(f"127.0.7.{number}", 0))
            for number in range(1, 61)
        ]
        for at in range(len(drip)):
            for _, writer in slow:
                writer.write(drip[at : at + 1])
            await asyncio.sleep(0)
        for _, writer in slow:
            writer.write(b"x")
        ask = b"GET /state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        for _ in range(5):
            assert b"good" in await raw(listener.port, ask)
        for _, writer in slow:
            writer.transport.abort()


async def test_who_asks_too_often_is_kept_waiting_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.http._REFUSED_S", 0.1)
    ask = b"GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving({"/state": Route(get=good, cost=60)}) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        for _ in range(4):
            writer.write(ask)
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(5)
        began = asyncio.get_running_loop().time()
        writer.write(ask)
        said = await asyncio.wait_for(reader.read(), 5)
        assert b" 429 " in said
        assert b"Retry-After: 2" in said
        assert asyncio.get_running_loop().time() - began >= 0.1
        other, out = await asyncio.open_connection("127.0.0.1", listener.port, local_addr=("127.0.0.8", 0))
        out.write(ask)
        assert b" 200 " in await other.readuntil(b"\r\n\r\n")
        out.close()
        writer.close()


async def test_one_address_opens_so_many_connections_a_second() -> None:
    async with serving({"/state": Route(get=good)}) as listener:
        ask = b"GET /state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        began = asyncio.get_running_loop().time()
        answered = [b"good" in await raw(listener.port, ask) for _ in range(300)]
        took = asyncio.get_running_loop().time() - began
        assert all(answered[:128])
        assert sum(answered) <= 129 + 32 * took
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, local_addr=("127.0.0.9", 0))
        writer.write(ask)
        assert b"good" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
