"""From the answer that carries a new value to the bytes at a reader of the page, and to the pixel in Chromium.

How often a register is asked is not in it: the clock starts when the answer is written to the gateway's socket. A fire
is asked twice before it is told, which is in it. Beside 1,000 points that change each second; beside a bare aiohttp
that is told of a change by a request and hands it to its readers and to the least page.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import aiohttp
from playwright.async_api import Browser, Page

from tests.benchmarks.bare_page import bare_page, recorded
from tests.benchmarks.measure import quantile
from tests.benchmarks.registers import listen
from tests.benchmarks.thousand import a_thousand_points
from tests.browser.chromium import chromium, context

FIRES = 20
"""Points with an alarm; one more, the last, is only read."""
CHANGES = int(os.environ.get("BENCH_CHANGES", "200"))
_QUESTIONS = 30
"""By which the clock of the page is found."""
_TAIL_BYTES = 64
_LEVEL = 10_000_000
"""A value that no other point has."""
_WITHIN_S = 10.0
_POINT = "fire{n}: {{at: holding {n}, every: 100ms, alarms: {{fire: {{kind: fire, equals: 1, latch: false}}}}}}"
_LINES = "  panel: {{driver: modbus, tcp: '127.0.0.1:{port}'}}\n"
_DEVICES = "  panel: {{line: panel, points: {{{points}, level: {{at: holding {last}, type: uint32, every: 250ms}}}}}}\n"
_WATCH = """
const look = () => { const one = document.querySelector(window.looksAt);
    return one === null ? 'none' : window.text ? one.textContent.includes(window.text) : one.className; };
let before = '';
window.lookAt = (selector, text) => { [window.looksAt, window.text] = [selector, text]; before = look(); };
new MutationObserver(() => {
    if (!window.looksAt) return;
    const now = look();
    if (now === before) return;
    before = now;
    requestAnimationFrame(() => setTimeout(() => window.isShown(performance.now())));
}).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
"""
"""Says when something else is shown, once the frame that shows it is drawn: the one after the change, to be sure."""


class Changing(Protocol):
    """Something that changes, and where that is seen."""

    changed_at: float
    """When the answer with the last change was written (monotonic seconds)."""

    def shown_by(self, number: int) -> tuple[str, str]:
        """What shows this change on the screen: a selector, and its text then; no text: another class."""
        ...

    def told_by(self, number: int) -> bytes:
        """What tells this change in the stream."""
        ...

    async def change(self, number: int) -> None:
        """Make it."""
        ...


class ContactPanel:
    """Registers of contacts, and of one level, which a gateway asks for."""

    def __init__(self) -> None:
        self.changed_at = 0.0
        self._values = [0] * (FIRES + 2)
        self._changed = 0
        self._is_shown = True

    def words(self, address: int, count: int) -> bytes:
        """What is answered."""
        if not self._is_shown and address <= self._changed < address + count:
            self._is_shown, self.changed_at = True, time.monotonic()
        return b"".join(value.to_bytes(2, "big") for value in self._values[address : address + count])

    def set(self, address: int, *values: int) -> None:
        """In force with the next answer."""
        self._values[address : address + len(values)] = values
        self._changed, self._is_shown = address, False


class FireContacts(ContactPanel):
    """One contact after the other closes; in the next round they open again."""

    def shown_by(self, number: int) -> tuple[str, str]:
        return f"[data-alarm='panel/fire{number % FIRES}/fire']", ""

    def told_by(self, number: int) -> bytes:
        return f'"panel/fire{number % FIRES}/fire":'.encode()

    async def change(self, number: int) -> None:
        self.set(number % FIRES, 1 - number // FIRES % 2)


class MovingLevel(ContactPanel):
    """A value that is only shown: it leaves with the readings, four times a second."""

    def shown_by(self, number: int) -> tuple[str, str]:
        return "[data-point='panel.level'] td.number", str(_LEVEL + number)

    def told_by(self, number: int) -> bytes:
        return f'"value":{_LEVEL + number}'.encode()

    async def change(self, number: int) -> None:
        self.set(FIRES, *divmod(_LEVEL + number, 1 << 16))


class ToldFloor:
    """The floor: it is told by a request."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.changed_at = 0.0
        self._session = session
        self._url = f"{base}/tell"

    def shown_by(self, number: int) -> tuple[str, str]:
        return "body", f"change {number}."

    def told_by(self, number: int) -> bytes:
        return f'"change {number}."'.encode()

    async def change(self, number: int) -> None:
        self.changed_at = time.monotonic()
        async with self._session.post(self._url, json=f"change {number}.") as answer:
            assert answer.status == 200


class TimedScreen:
    """A page in Chromium that says when something is shown, by our clock."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._behind = 0.0
        """Our clock minus the page's."""
        self._shown: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def open(self, url: str) -> None:
        await self.page.expose_function("isShown", self._is_shown)
        await self.page.add_init_script(_WATCH)
        await self.page.goto(url, wait_until="commit")

    async def measure_clock(self) -> None:
        """By the quickest of some questions."""
        answers = []
        for _ in range(_QUESTIONS):
            asked = time.monotonic()
            told = await self.page.evaluate("performance.now()") / 1000
            answered = time.monotonic()
            answers.append((answered - asked, (asked + answered) / 2 - told))
        self._behind = min(answers)[1]

    async def look_at(self, selector: str, text: str) -> None:
        """From now on at this element: whether it has this text, or its class if that is empty."""
        self._shown = asyncio.get_running_loop().create_future()
        await self.page.evaluate("([selector, text]) => window.lookAt(selector, text)", [selector, text])

    async def shown(self) -> float:
        """When it was shown otherwise (monotonic seconds)."""
        return await self._shown

    def _is_shown(self, at_ms: float) -> None:
        if not self._shown.done():
            self._shown.set_result(at_ms / 1000 + self._behind)


class TimedStream:
    """A stream whose bytes are looked at as they come."""

    def __init__(self) -> None:
        self._expected = b""
        self._held = b""
        self._came: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def run(self, session: aiohttp.ClientSession, base: str) -> None:
        """Read until cancelled."""
        async with session.get(f"{base}/events", headers={"Accept-Encoding": "identity"}) as response:
            async for piece in response.content.iter_any():
                now = time.monotonic()
                self._held += piece
                if self._expected and self._expected in self._held and not self._came.done():
                    self._came.set_result(now)
                self._held = self._held[-_TAIL_BYTES:]

    def expect(self, text: bytes) -> None:
        """From now on."""
        self._expected, self._held = text, b""
        self._came = asyncio.get_running_loop().create_future()

    async def came(self) -> float:
        """When that had come (monotonic seconds)."""
        return await self._came


class Late(NamedTuple):
    """Seconds from the answer that has the change."""

    bytes: list[float]
    pixel: list[float]

    def __str__(self) -> str:
        return ", ".join(
            f"{name} p50 {quantile(times, 0.5) * 1000:.0f} ms, p99 {quantile(times, 0.99) * 1000:.0f} ms"
            for name, times in (("on the socket", self.bytes), ("on the screen", self.pixel))
        )


async def late(source: Changing, screen: TimedScreen, reader: TimedStream) -> Late:
    """So many changes, each at a moment of its own."""
    chance, found = random.Random(1), Late([], [])  # noqa: S311 - a repeatable pattern
    await screen.measure_clock()
    for number in range(CHANGES):
        await asyncio.sleep(chance.uniform(0.05, 0.35))
        await screen.look_at(*source.shown_by(number))
        reader.expect(source.told_by(number))
        await source.change(number)
        async with asyncio.timeout(_WITHIN_S):
            bytes_at, shown_at = await reader.came(), await screen.shown()
        found.bytes.append(bytes_at - source.changed_at)
        found.pixel.append(shown_at - source.changed_at)
    return found


@asynccontextmanager
async def looking(browser: Browser, base: str, at: str = "/") -> AsyncIterator[tuple[TimedScreen, TimedStream]]:
    """A page and a reader beside it."""
    async with (
        context(browser) as made,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        asyncio.TaskGroup() as group,
    ):
        screen, reader = TimedScreen(await made.new_page()), TimedStream()
        await screen.open(base + at)
        reading = group.create_task(reader.run(session, base), name="stream")
        yield screen, reader
        reading.cancel()


async def measured(folder: Path, panel: FireContacts | MovingLevel, at: str) -> tuple[Late, Late]:
    """Ours and the floor's."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await listen(panel.words))
        port = server.sockets[0].getsockname()[1]
        points = ", ".join(_POINT.format(n=n) for n in range(FIRES))
        site = await stack.enter_async_context(a_thousand_points(folder))
        _, base = await stack.enter_async_context(
            site.gateway("one", lines=_LINES.format(port=port), devices=_DEVICES.format(points=points, last=FIRES))
        )
        browser = await stack.enter_async_context(chromium())
        _, floor = await stack.enter_async_context(bare_page(folder, (await recorded(base, 3.0))[:1]))
        async with looking(browser, base, at) as (screen, reader):
            await screen.page.locator("body:not(.lost) .strip .worst").wait_for()
            if isinstance(panel, MovingLevel):
                await screen.page.locator("details[data-device=panel] summary").first.click()
                await screen.page.locator("[data-point='panel.level'] td.GOOD").wait_for()
            ours = await late(panel, screen, reader)
        async with aiohttp.ClientSession() as session, looking(browser, floor) as (screen, reader):
            await screen.page.locator("body", has_text="41").wait_for()
            return ours, await late(ToldFloor(session, floor), screen, reader)


async def test_a_fire_is_on_the_socket_and_on_the_screen(tmp_path: Path) -> None:
    ours, floor = await measured(tmp_path, FireContacts(), "/")
    sys.stdout.write(f"\na fire, from the first answer that shows it: {ours}\n  a bare aiohttp that is told: {floor}\n")
    assert quantile(ours.bytes, 0.99) <= 0.050
    assert quantile(ours.pixel, 0.99) <= 0.300


async def test_a_reading_is_on_the_screen(tmp_path: Path) -> None:
    """Readings leave four times a second, so the socket has it up to 250 ms later than an alarm."""
    ours, floor = await measured(tmp_path, MovingLevel(), "/#devices")
    sys.stdout.write(f"\na reading, from the answer that has it: {ours}\n  a bare aiohttp that is told: {floor}\n")
    assert quantile(ours.bytes, 0.99) <= 0.250 + 0.050
    assert quantile(ours.pixel, 0.99) <= 0.300
