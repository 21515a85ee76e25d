"""Attacks on the local page, each in a process of its own so that the virtual site keeps its pace beside it.

`python -m tests.end_to_end.page_attacks NAME BASE` prints a line once it is under way, goes on until its standard input
ends and it has done enough, and then prints as JSON what it got how often: statuses (0: closed), or codes of refusals.
"""

import asyncio
import base64
import itertools
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

from tests.browser.corpus import CORPUS
from tests.end_to_end.browsing import Browser
from tests.end_to_end.test_page_hostile import head, over_tls, status_of
from tests.end_to_end.test_page_rounds import HOSTILE

ANSWER_S = 5.0
PAUSE_S = 0.02
"""Of each of those that ask: the machine of the test has two cores, and what is measured is not who gets them."""
ASKERS = 4
ROUND, ITEM = "look", "person:看一眼泵房"

Tally = Counter[str]
Run = Callable[[Tally, str], Coroutine[Any, Any, None]]
"""Given where what it gets is counted, and the page's address."""


class Attack(NamedTuple):
    """One attack."""

    run: Run
    """Goes on until it is cancelled."""
    under_way: int
    """So many answers, or connections, until it is in full swing."""
    gets: frozenset[str]
    """What it may get: anything else is a hole."""
    enough: int = 0
    """It does not end before it has got so many."""


# ---- requests that are refused, one after the other from address after address --------------------------


async def _send(base: str, source: str, request: bytes) -> str:
    """The status; 0: it was closed."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await over_tls(base, source)
            try:
                writer.write(request)
                return str(status_of(await reader.read(4096)))
            finally:
                writer.transport.abort()
    return "0"


def _requests(net: int, *requests: bytes) -> Run:
    async def ask(tally: Tally, base: str, number: int) -> None:
        sources = itertools.cycle(f"127.0.{net}.{ASKERS * turn + number + 1}" for turn in range(50))
        for request in itertools.cycle(requests):
            tally[await _send(base, next(sources), request)] += 1
            await asyncio.sleep(PAUSE_S)

    async def run(tally: Tally, base: str) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(ASKERS):
                group.create_task(ask(tally, base, number), name="ask")

    return run


# ---- people who are logged in ---------------------------------------------------------------------------


async def _serve_texts(tally: Tally, base: str) -> None:
    """The corpus stands in every name of the site; it comes in by notes and names as well, and is read again."""
    async with Browser(base, ssl=False, source="127.0.21.1") as li, li.looking() as seen:
        await li.log_in("li", "password of li")
        for text in itertools.cycle(CORPUS):
            args = {"alarm": text[:60].strip(), "note": text[:200].strip()}
            _, told = await li.do(seen, "alarm.acknowledge", **args)
            tally[told["error"]["code"]] += 1
            for path in ("/state", "/audit?limit=20", "/history?stream=alarm&limit=20"):
                status, _ = await li.get(path)
                tally[str(status)] += 1
            await asyncio.sleep(0.6)  # 24 of the 40 that he may ask for in a second


async def _forge(tally: Tally, base: str) -> None:
    """Pages of somebody else, in the browser of somebody who is logged in; it sends its cookie, which none would."""
    marks = {"X-Site-Gateway": "1", "Origin": base, "Content-Type": "application/json"}
    changes = (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"X-Site-Gateway": "0"},
        {"Content-Type": "text/plain"},
    )
    async with Browser(base, ssl=False, source="127.0.22.1") as li, li.looking() as seen:
        await li.log_in("li", "password of li")
        for change, path in itertools.cycle(itertools.product(changes, ("/do", "/logout", "/login"))):
            told = {"cmd": "gate.open", "args": {"gate": "north"}, "seen": seen.seen}
            async with li.session.post(path, data=orjson.dumps(told), headers=marks | change, ssl=False) as said:
                tally[str(said.status)] += 1
            await asyncio.sleep(0.05)


def _photos(source: str, *photos: str) -> Run:
    """Each is given as the answer of a round; whenever a fire has stopped the round, it is begun again."""

    async def run(tally: Tally, base: str) -> None:
        async with Browser(base, ssl=False, source=source) as li, li.looking() as seen:
            await li.log_in("li", "password of li")
            for photo in itertools.cycle(photos):
                run_ = seen.state.get("rounds", {}).get(ROUND, {}).get("run", {}).get("run")
                if run_ is None:
                    await li.do(seen, "inspection.run", round=ROUND)
                else:
                    args = {"run": run_, "item": ITEM, "ok": True, "photo": photo}
                    _, told = await li.do(seen, "inspection.answer", **args)
                    tally["taken" if told["ok"] else told["error"]["code"]] += 1
                await asyncio.sleep(0.1)

    return run


def _coded(*names: str) -> list[str]:
    return [base64.b64encode(HOSTILE[name]).decode() for name in names]


# ---- connections ----------------------------------------------------------------------------------------


async def _guess(tally: Tally, base: str) -> None:
    """Logins from a hundred addresses, over connections that are kept."""
    body = b'{"name":"zhang","password":"wrong"}'
    marks = ("X-Site-Gateway: 1", "Content-Type: application/json", f"Origin: {base}", f"Content-Length: {len(body)}")
    asked = (
        head("POST /login", *marks, host=base.removeprefix("https://")).replace(b"Connection: close\r\n", b"") + body
    )

    async def guess(sources: Sequence[str]) -> None:
        for source in itertools.cycle(sources):
            with suppress(OSError, EOFError):
                reader, writer = await over_tls(base, source)
                try:
                    for _ in range(100):
                        writer.write(asked)
                        answer = await reader.readuntil(b"\r\n\r\n")
                        tally[str(status_of(answer))] += 1
                        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                        await reader.readexactly(length)
                        await asyncio.sleep(PAUSE_S / 2)
                finally:
                    writer.transport.abort()

    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(guess([f"127.0.23.{40 * turn + number + 1}" for turn in range(3)]), name="guess")


async def _half_open(tally: Tally, base: str) -> None:
    """A thousand requests and handshakes that are begun and not ended; what the gateway closes is begun again."""
    host, port = "127.0.0.1", int(base.rpartition(":")[2])
    begun: list[socket.socket] = []
    loop = asyncio.get_running_loop()
    for number in itertools.count():
        one = socket.socket()
        one.bind((f"127.0.24.{number % 200 + 1}", 0))
        one.setblocking(False)
        with suppress(OSError):
            await loop.sock_connect(one, (host, port))
            await loop.sock_sendall(one, b"\x16\x03\x01\x02\x00\x01"[: number % 7])
        tally["begun"] += 1
        begun.append(one)
        if len(begun) > 1000:
            begun.pop(0).close()
            await asyncio.sleep(0.005)


def _streams(net: int, count: int, pause_s: float) -> Run:
    """So many streams, eight of an address; `pause_s` after each byte that is read, 0: all is read at once."""

    async def read(tally: Tally, base: str, number: int) -> None:
        while True:
            with suppress(OSError):
                reader, writer = await over_tls(base, f"127.0.{net}.{number // 8 + 1}")
                try:
                    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    tally[str(status_of(await reader.read(12)))] += 1
                    while await reader.read(1 if pause_s else 65536):
                        await asyncio.sleep(pause_s)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(1)

    async def run(tally: Tally, base: str) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(read(tally, base, number), name="stream")

    return run


# ---- all of them ----------------------------------------------------------------------------------------

_CLOSED = frozenset({"400", "0"})
ATTACKS: dict[str, Attack] = {
    "texts that would run": Attack(_serve_texts, 20, frozenset({"bad-args", "200"})),
    "pages of another origin": Attack(_forge, 10, frozenset({"403"})),
    "paths out of the folder": Attack(
        _requests(
            25, head("GET /static/../http.py"), head("GET /static/%2e%2e/%2e%2e/etc/passwd"),
            head("GET /static/x/..%2f..%2fhttp.py"), head("GET //etc/passwd"), head("GET /pictures/../../etc/passwd"),
        ), 20, frozenset({"404", "400", "401"}),
    ),
    "a query of 1 MiB": Attack(_requests(26, head("GET /history?stream=" + "x" * (1 << 20))), 20, _CLOSED),
    "a cookie of 64 KiB": Attack(
        _requests(27, head("GET /state", "Cookie: __Host-site-gateway=" + "x" * (64 << 10))), 20, _CLOSED
    ),
    "ten thousand logins": Attack(_guess, 100, frozenset({"401", "429", "503"}), 10_000),
    "a thousand half-open requests": Attack(_half_open, 1000, frozenset({"begun"})),
    "a hundred streams": Attack(_streams(28, 100, 0.0), 100, frozenset({"200", "503", "0"})),
    "readers of one byte a second": Attack(_streams(30, 32, 1.0), 32, frozenset({"200", "503", "0"})),
    "a photo of 100 megapixels": Attack(
        _photos("127.0.32.1", *_coded("100 megapixels", "100 megapixels by its header")), 3, frozenset({"bad-args"})
    ),
    "a photo with a script in it": Attack(
        _photos("127.0.33.1", *_coded("an SVG with a script", "a page", "a GIF that is a script",
                                      "the beginning of a JPEG and a page")), 3, frozenset({"bad-args"}),
    ),
}  # fmt: skip


async def _main(name: str, base: str) -> None:
    attack, tally = ATTACKS[name], Tally()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(attack.run(tally, base), name=name)
        while sum(tally.values()) < attack.under_way:
            await asyncio.sleep(0.02)
        print("under way", flush=True)  # noqa: T201
        while not ended.done() or sum(tally.values()) < attack.enough:
            await asyncio.sleep(0.02)
        task.cancel()
    print(orjson.dumps(tally).decode(), flush=True)  # noqa: T201


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
