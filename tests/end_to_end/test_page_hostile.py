"""The local page under attack: the right refusal, memory bounded, nothing in the log, a fire as fast as ever."""

import asyncio
import itertools
import re
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import orjson

from gateway.technician.certificate import make
from tests.end_to_end.browsing import Browser, Stream, listening
from tests.end_to_end.compound import Compound, compound
from tests.end_to_end.process import GatewayProcess, running
from tests.end_to_end.test_page import SITE, page_of, page_site, with_page

GROWTH = 16 << 20
"""Bytes of resident memory that any of this may cost."""


def resident(gateway: GatewayProcess) -> int:
    return int(Path(f"/proc/{gateway.pid}/statm").read_text().split()[1]) * 4096


def port_of(base: str) -> int:
    return int(base.rpartition(":")[2])


OF_A_BUSY_MACHINE = ('"gateway.runtime.self_alarms"', '"from": "gateway.field.')
"""Lines of the log that tell of late polls and answers, whatever else goes on."""


async def connected(base: str, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port_of(base), local_addr=(source, 0))


async def raw(base: str, data: bytes, source: str = "127.0.0.1") -> bytes:
    """What comes back until the other side closes."""
    reader, writer = await connected(base, source)
    try:
        writer.write(data)
        async with asyncio.timeout(15):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1]) if said else 0


def head(line: str, *headers: str, host: str = "localhost") -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]).encode()


@asynccontextmanager
async def quiet(gateway: GatewayProcess, lines: int = 1, growth: int = GROWTH) -> AsyncIterator[None]:
    """While it lasts the memory stays bounded and the log all but silent."""
    before, told = resident(gateway), len(gateway.log.read_text().splitlines())
    yield
    after = resident(gateway)
    assert after - before < growth, f"{(after - before) >> 10} KiB more"
    new = [
        line
        for line in gateway.log.read_text().splitlines()[told:]
        if not any(own in line for own in OF_A_BUSY_MACHINE)
    ]
    assert len(new) <= lines, new


async def test_no_page_of_somebody_else_does_anything(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, gateway), Browser(base) as guard:
        await it.until_well("relay-tcp")
        await guard.log_in("zhang", "password of zhang")
        async with guard.looking() as seen, quiet(gateway):
            told = {"cmd": "gate.open", "args": {"gate": "north"}, "seen": seen.seen}
            body = orjson.dumps(told)
            own = {"X-Site-Gateway": "1", "Origin": base, "Content-Type": "application/json"}
            changes: tuple[dict[str, str | None], ...] = (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Origin": base.replace("http", "https")},
                {"Origin": base + "0"},
                {"X-Site-Gateway": "0"},
                {"Content-Type": "text/plain"},
                {"Content-Type": "application/x-www-form-urlencoded"},
                {"X-Site-Gateway": None},
                {"Origin": None},
                {"Content-Type": None},
            )
            for change in changes:
                marks: dict[str, str | None] = {**own, **change}
                headers = {name: value for name, value in marks.items() if value is not None}
                async with guard.session.post(
                    "/do", data=body, headers=headers, skip_auto_headers=["Content-Type"]
                ) as said:
                    assert (said.status, (await said.json())["error"]["code"]) == (403, "foreign"), change
                async with guard.session.post(
                    "/logout", data=b"{}", headers=headers, skip_auto_headers=["Content-Type"]
                ) as said:
                    assert said.status == 403
            async with guard.session.options("/do", headers={"Origin": "http://evil.example"}) as said:
                assert said.status == 405
                assert not [name for name in said.headers if name.lower().startswith("access-control")]
            assert it.written("relay-tcp") == []
            assert (await guard.do(seen, "gate.open", gate="north"))[1]["ok"]


REQUESTS: tuple[tuple[bytes, tuple[int, ...]], ...] = (
    (head("GET /static/../http.py"), (404,)),
    (head("GET /static/%2e%2e/http.py"), (404,)),
    (head("GET /static/x/..%2f..%2fhttp.py"), (404,)),
    (head("GET //etc/passwd"), (400, 404)),
    (head("GET /pictures/../../etc/passwd"), (401,)),
    (head("GET /pictures/%00"), (401,)),
    (head("GET http://evil.example/state"), (200,)),
    (head("GET /history?stream=" + "x" * (1 << 20)), (400, 0)),
    (head("GET /state", "Cookie: site-gateway=" + "x" * (64 << 10)), (400, 0)),
    (head("GET /state", "Cookie: " + "; ".join(f"a{n}=b" for n in range(1000))), (200, 400)),
    (head("GET /state", *(f"X{n}: 1" for n in range(64))), (400,)),
    (head("GET /state", host="evil.example"), (421,)),
    (head("DELETE /state"), (405,)),
    (head("TRACE /state"), (405,)),
    (head("GET /metrics?x=%ff%fe"), (200,)),
    (head("GET /state", "Content-Length: -1"), (400,)),
    (head("GET /state", "Transfer-Encoding: chunked", "Content-Length: 4"), (400,)),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), (400,)),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 404, 405, 0)),
)
"""What is sent, and the statuses that may come back; 0: the connection is closed."""
BODIES = (
        b"", b"{", b"[]", b"null", b'"x"', b'{"cmd": 1}', b'{"cmd": "gate.open", "args": []}', b"\xff\xfe", b"[" * 4000,
        b'{"cmd": "' + b"x" * 4000 + b'"}', b'{"args": {"gate": "\\ud800"}, "cmd": "gate.open"}', b"{}" * 2000,
)  # fmt: skip


async def test_what_is_no_request_of_ours_is_refused(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (_, base, gateway), quiet(gateway):
        for request, statuses in REQUESTS:
            said = await raw(base, request)
            assert status_of(said) in statuses, (request[:80], said[:200])
            assert b"root:" not in said
            assert status_of(await raw(base, head("GET /state"))) == 200


async def test_bodies_that_are_none(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (_, base, gateway), quiet(gateway):
        marks = ("X-Site-Gateway: 1", "Content-Type: application/json", f"Origin: {base}")
        for body in BODIES:
            for path in ("/do", "/login", "/logout"):
                length = f"Content-Length: {len(body)}"
                said = await raw(base, head(f"POST {path}", *marks, length, host=base.removeprefix("http://")) + body)
                assert status_of(said) in (200, 400, 401, 409, 429), (body[:80], said[:300])
                assert status_of(said) != 200 or path == "/logout"


async def test_ten_thousand_logins(tmp_path: Path) -> None:
    """Each waits, from wherever; whoever was here before comes in as ever, and so does who was not."""
    async with page_site(tmp_path) as (_, base, gateway), Browser(base) as guard, Browser(base) as other:
        await guard.log_in("zhang", "password of zhang")
        async with quiet(gateway):
            codes: dict[int, int] = {}
            cpu = cpu_of(gateway)

            async def guess(source: str) -> None:
                body = b'{"name":"zhang","password":"wrong"}'
                ask = (
                    f"POST /login HTTP/1.1\r\nHost: localhost:{port_of(base)}\r\nX-Site-Gateway: 1\r\n"
                    f"Content-Type: application/json\r\nOrigin: http://localhost:{port_of(base)}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n"
                ).encode() + body
                reader, writer = await connected(base, source)
                for _ in range(100):
                    writer.write(ask)
                    answer = await reader.readuntil(b"\r\n\r\n")
                    code = status_of(answer)
                    codes[code] = codes.get(code, 0) + 1
                    length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    await reader.readexactly(length)
                writer.close()

            began = time.monotonic()
            for crowd in range(5):  # as many at once as there is room for
                async with asyncio.TaskGroup() as group:
                    for number in range(20):
                        group.create_task(guess(f"127.0.1.{20 * crowd + number + 1}"), name="guess")
            assert sum(codes.values()) == 10_000
            assert codes.keys() <= {401, 429, 503}
            assert codes[401] <= 8 + (time.monotonic() - began) + 1, "verified; the others were told to wait"
            assert cpu_of(gateway) - cpu < 60
            assert (await guard.get("/me"))[1]["name"] == "zhang"
            await guard.log_in("zhang", "password of zhang")
            await other.log_in("li", "password of li")


def cpu_of(gateway: GatewayProcess) -> float:
    """Seconds."""
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_a_thousand_half_open_requests_keep_nobody_out(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (_, base, gateway), AsyncExitStack() as stack:
        await asyncio.sleep(0)
        async with quiet(gateway):
            held = 0
            for number in range(1000):
                half = stack.enter_context(socket.socket())
                half.bind((f"127.0.2.{number % 20}", 0))
                half.setblocking(False)
                loop = asyncio.get_running_loop()
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(2):
                        await loop.sock_connect(half, ("127.0.0.1", port_of(base)))
                        await loop.sock_sendall(half, b"GET /state HTTP/1.1\r\nHost: loc")
                        held += 1
            began = time.monotonic()
            assert status_of(await raw(base, head("GET /state"), source="127.0.0.9")) == 200
            assert time.monotonic() - began < 2.0
            files = len([*Path(f"/proc/{gateway.pid}/fd").iterdir()])
            assert files < 48 + 32 + 40


async def test_a_hundred_streams_and_a_guard(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, gateway), AsyncExitStack() as stack:
        guard = await stack.enter_async_context(Browser(base))
        await guard.log_in("zhang", "password of zhang")
        async with quiet(gateway):
            opened, refused = [], 0
            for number in range(100):
                reader, writer = await connected(base, f"127.0.3.{number // 10}")
                stack.callback(writer.close)
                writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                if status_of(answer) == 200:
                    opened.append(reader)
                else:
                    assert status_of(answer) == 503
                    assert b"Retry-After: 5" in answer
                    refused += 1
            assert (len(opened), refused) == (32, 68)
            async with guard.looking() as seen:
                async with asyncio.timeout(10):
                    while await opened[-1].read(65536):
                        pass
                it.virtual.set("smoke-1.smoke", 1)
                await seen.until(lambda state: state["alarms"]["smoke-1/smoke/fire"])
                for reader in opened[:-1]:
                    await asyncio.wait_for(reader.readuntil(b"smoke-1/smoke/fire"), 10)


async def test_who_asks_for_a_stream_and_leaves_at_once_keeps_no_place(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (_, base, gateway), AsyncExitStack() as stack:
        guard = await stack.enter_async_context(Browser(base))
        await guard.log_in("zhang", "password of zhang")
        ask = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with quiet(gateway):
            for number in range(60):
                with socket.create_connection(("127.0.0.1", port_of(base)), timeout=5) as one:
                    one.sendall(ask)
                    if number % 2:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    else:
                        one.shutdown(socket.SHUT_WR)
            opened: list[asyncio.StreamReader] = []
            async with asyncio.timeout(10):
                while len(opened) < 8:
                    reader, writer = await connected(base)
                    stack.callback(writer.close)
                    writer.write(ask)
                    if status_of(await reader.readuntil(b"\r\n\r\n")) == 200:
                        opened.append(reader)
                    else:
                        await asyncio.sleep(0.05)
            async with guard.looking(), asyncio.timeout(10):
                while await opened[-1].read(65536):
                    pass
            assert not opened[0].at_eof()


async def test_many_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (_, base, gateway), quiet(gateway):
        for path in ("/state", "/metrics"):
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                asked = [
                    group.create_task(raw(base, head(f"GET {path}"), f"127.0.5.{number // 8}"), name="ask")
                    for number in range(32)
                ]
            assert [status_of(one.result()) for one in asked] == [200] * 32
            bodies = {one.result().partition(b"\r\n\r\n")[2] for one in asked}
            assert len(bodies) <= 2 + (time.monotonic() - began) / 0.25


async def test_readers_of_one_byte_a_second_cost_nobody_anything(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, gateway), AsyncExitStack() as stack:
        guard = await stack.enter_async_context(Browser(base))
        await guard.log_in("zhang", "password of zhang")
        async with quiet(gateway):
            loop = asyncio.get_running_loop()
            slow = []
            for number in range(24):
                one = stack.enter_context(socket.socket())
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                one.bind((f"127.0.4.{number // 8}", 0))
                one.setblocking(False)
                await loop.sock_connect(one, ("127.0.0.1", port_of(base)))
                await loop.sock_sendall(one, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                slow.append(one)
            async with guard.looking() as seen:
                for turn in range(12):
                    it.virtual.set("smoke-1.smoke", turn % 2)
                    for one in slow:
                        with suppress(BlockingIOError, ConnectionError):
                            one.recv(1)
                    await asyncio.sleep(1.0)
                await _fire(it, seen, "smoke-2")


DOCS = Path(__file__).parent.parent.parent / "docs"


def costs_in_the_docs() -> dict[str, int]:
    """By method and path what it counts, as security.md has it."""
    table = (DOCS / "security.md").read_text().partition("### What each path costs")[2]
    rows = re.findall(r"^\| `((?:GET|POST) /[a-z/]*)` \| ([0-9]+) \|", table, re.MULTILINE)
    return {path: int(cost) for path, cost in rows}


def test_each_path_of_the_page_has_a_cost() -> None:
    there = re.findall(
        r"`((?:GET|POST) /[a-z/]*?)(?:ID)?`", (DOCS / "local-page.md").read_text().partition("## Refusals")[0]
    )
    assert {*costs_in_the_docs()} == {*there} | {"GET /static/"}


async def test_each_path_costs_what_is_written(tmp_path: Path) -> None:
    rounds = SITE + "inspection:\n  week: {items: [{person: 灭火器}]}\n"
    async with page_site(tmp_path, rounds) as (_, base, gateway), quiet(gateway):
        for number, (path, cost) in enumerate(costs_in_the_docs().items(), 1):
            source, began, answered = f"127.0.8.{number}", time.monotonic(), 0
            reader, writer = await connected(base, source)
            while True:
                if path == "GET /events":  # its connection is its own
                    writer.close()
                    reader, writer = await connected(base, source)
                writer.write(f"{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
                answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                if status_of(answer) == 429:
                    break
                answered += 1
                if path != "GET /events":
                    length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    await reader.readexactly(int(length))
            writer.close()
            assert answered >= 240 // cost, path
            assert answered * cost <= 240 + 40 * (time.monotonic() - began), path


async def _fire(it: Compound, seen: Stream, device: str) -> float:
    """Seconds from the register to the page."""
    began = time.monotonic()
    it.virtual.set(f"{device}.smoke", 1)
    await seen.until(lambda state: state["alarms"][f"{device}/smoke/fire"]["active"])
    return time.monotonic() - began


QUICK = SITE.replace("every: 1s", "every: 100ms").replace("hold: [north],", "trigger: any, hold: [north],")
FIRES = 5
HALF_OPEN = 1000


async def test_while_all_of_this_goes_on_a_guard_logs_in_and_a_fire_is_as_fast_as_ever(tmp_path: Path) -> None:
    """Over TLS: a thousand half-open handshakes, a hundred slow readers of streams, guesses, nonsense."""
    made = make(["127.0.0.1", "localhost"])
    (tmp_path / "page.crt").write_bytes(made.certificate)
    (tmp_path / "page.key").write_bytes(made.key)
    text = with_page(QUICK, tmp_path, ", tls: {cert: page.crt, key: page.key}")
    async with compound(tmp_path, text) as it, running(it.site) as gateway, AsyncExitStack() as stack:
        base = page_of(it.site)
        await listening(base)
        here = await stack.enter_async_context(Browser(base, ssl=False))
        await here.log_in("zhang", "password of zhang")
        seen = await stack.enter_async_context(here.looking())
        await seen.until(lambda state: state["devices"]["smoke-1"]["points"]["smoke"]["quality"] == "GOOD")
        alone = sorted([await fire_and_release(it, here, seen) for _ in range(FIRES)])
        async with quiet(gateway, growth=2 * GROWTH), AsyncExitStack() as attack:  # 80 connections of TLS
            half: list[asyncio.StreamWriter] = []
            attack.callback(close_all, half)
            group = await attack.enter_async_context(asyncio.TaskGroup())
            stop = asyncio.Event()
            attack.callback(stop.set)
            group.create_task(half_opened(base, half, stop), name="half-open")
            for number in range(4):
                group.create_task(nonsense(base, number, stop), name="nonsense")
            for number in range(100):
                group.create_task(slow_stream(base, number, stop), name="slow stream")
            async with asyncio.timeout(60):
                while len(half) < HALF_OPEN:
                    await asyncio.sleep(0.05)
            new = await stack.enter_async_context(Browser(base, ssl=False))
            async with asyncio.timeout(10):
                assert (await new.log_in("li", "password of li"))["role"] == "steward"
                looking = await stack.enter_async_context(new.looking())
            beside = sorted([await fire_and_release(it, new, looking) for _ in range(FIRES)])
        assert beside[FIRES // 2] <= 2 * alone[FIRES // 2] + 0.1, (alone, beside)


def close_all(writers: list[asyncio.StreamWriter]) -> None:
    for one in writers:
        one.close()


async def half_opened(base: str, half: list[asyncio.StreamWriter], stop: asyncio.Event) -> None:
    """Handshakes that are begun and never ended, from two hundred addresses, on and on."""
    for number in itertools.count():
        if stop.is_set():
            return
        with suppress(OSError):
            _, writer = await connected(base, f"127.0.11.{number % 200 + 1}")
            writer.write(b"\x16\x03\x01\x02\x00\x01"[: number % 7])
            half.append(writer)
        await asyncio.sleep(0.005 if len(half) >= HALF_OPEN else 0)


async def over_tls(base: str, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection("127.0.0.1", port_of(base), ssl=trust, local_addr=(source, 0), limit=1024)


async def nonsense(base: str, number: int, stop: asyncio.Event) -> None:
    """Requests that are none, and guesses, each from another address."""
    body = b'{"name":"zhang","password":"wrong"}'
    marks = ("X-Site-Gateway: 1", "Content-Type: application/json", f"Origin: {base}", f"Content-Length: {len(body)}")
    guess = head("POST /login", *marks, host=base.removeprefix("https://")) + body
    sources = itertools.cycle(f"127.0.12.{4 * turn + number + 1}" for turn in range(60))
    for request in itertools.cycle([*(one for one, _ in REQUESTS), guess]):
        if stop.is_set():
            return
        with suppress(OSError, TimeoutError):
            reader, writer = await over_tls(base, next(sources))
            try:
                writer.write(request)
                async with asyncio.timeout(2):
                    await reader.read(65536)
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.02)


async def slow_stream(base: str, number: int, stop: asyncio.Event) -> None:
    """A reader of a stream that takes a byte a second."""
    while not stop.is_set():
        with suppress(OSError):
            reader, writer = await over_tls(base, f"127.0.13.{number // 4 + 1}")
            try:
                writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while not stop.is_set() and await reader.read(1):
                    await asyncio.sleep(1)
            finally:
                writer.transport.abort()
        await asyncio.sleep(1)


async def fire_and_release(it: Compound, guard: Browser, seen: Stream) -> float:
    """Seconds from the register to the hold on the wire; then all is reset and the gate released, by the guard."""
    began = time.monotonic()
    it.virtual.set("smoke-1.smoke", 1)
    await it.until(lambda: bool(it.written("relay-tcp", "do2", since=began)))
    took = it.written("relay-tcp", "do2", since=began)[0].mono - began
    await seen.until(lambda state: state["alarms"]["smoke-1/smoke/fire"]["active"])
    it.virtual.set("smoke-1.smoke", 0)
    await seen.until(lambda state: not state["alarms"]["smoke-1/smoke/fire"]["active"])
    reset = (await guard.do(seen, "alarm.reset", alarm="smoke-1/smoke/fire"))[1]
    assert reset["ok"], reset
    await seen.until(lambda state: state["gates"]["north"]["causes"] == ["after"])
    assert (await guard.do(seen, "gate.release", gate="north"))[1]["ok"]
    await seen.until(lambda state: state["gates"]["north"]["commanded"] == "idle")
    return took
