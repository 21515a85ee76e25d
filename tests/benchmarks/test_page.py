"""What the local page costs: memory, processor time, bytes, and how soon a change is on the socket.

40 devices x 25 points at 1 s, every value another each second: 1,000 points. Beside a bare aiohttp that writes the same
bytes to as many readers.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.benchmarks.measure import cpu_share, median, program, quantile, resident_mib
from tests.benchmarks.test_site_of_forty import site
from tests.end_to_end.browsing import Browser, Stream, listening
from tests.end_to_end.compound import Compound, compound
from tests.end_to_end.process import running
from tests.end_to_end.test_page import SITE, page_of, with_page
from tests.mosquitto import free_port, mosquitto

WINDOW = 10.0
FIRES = 20
QUICK = SITE.replace("every: 1s", "every: 100ms").replace("hold: [north],", "trigger: any, hold: [north],")


class Drinker:
    """A reader that counts."""

    def __init__(self, port: int, source: str) -> None:
        self.port, self.source = port, source
        self.bytes = 0
        self.pieces = 0

    async def run(self, *headers: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.source, 0))
        lines = ["GET /events HTTP/1.1", "Host: localhost", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        try:
            while piece := await reader.read(1 << 20):
                self.bytes += len(piece)
                self.pieces += 1
        finally:
            writer.close()


async def drinkers(stack: AsyncExitStack, port: int, count: int, *headers: str) -> list[Drinker]:
    group = await stack.enter_async_context(asyncio.TaskGroup())
    readers = [Drinker(port, f"127.0.5.{number // 8}") for number in range(count)]
    tasks = [group.create_task(one.run(*headers), name="reader") for one in readers]
    stack.callback(lambda: [task.cancel() for task in tasks])
    await asyncio.sleep(3)
    return readers


async def test_memory_processor_and_bytes(tmp_path: Path) -> None:
    port = free_port()
    async with (
        mosquitto(tmp_path) as broker,
        program("tests.benchmarks.registers", "moving", 40, reads=True) as (_, line),
    ):
        plain, paged = tmp_path / "plain.yaml", tmp_path / "paged.yaml"
        plain.write_text(site(broker.port, line.split(), tmp_path / "plain"))
        text = site(broker.port, line.split(), tmp_path / "paged")
        paged.write_text(f"{text}http: {{status: {{listen: '127.0.0.1:{port}'}}}}\n")
        async with running(plain) as gateway:
            await asyncio.sleep(15)
            without = resident_mib(gateway.pid)
        async with running(paged) as gateway:
            await asyncio.sleep(15)
            unused = resident_mib(gateway.pid)
            none = await cpu_share(gateway.pid, WINDOW)
            loads = await first_load(port)
            shares, grown, sizes = {}, {}, {}
            for count in (10, 32):
                async with AsyncExitStack() as stack:
                    readers = await drinkers(stack, port, count, "Accept-Encoding: gzip")
                    before = sum(one.bytes for one in readers), sum(one.pieces for one in readers)
                    shares[count] = await cpu_share(gateway.pid, WINDOW) - none
                    got = sum(one.bytes for one in readers) - before[0]
                    pieces = (sum(one.pieces for one in readers) - before[1]) / count
                    sizes[count] = (got / count / WINDOW, pieces / WINDOW)
                    grown[count] = resident_mib(gateway.pid) - unused
        a_second, often = sizes[10]
        async with AsyncExitStack() as stack:
            bare, said = await stack.enter_async_context(
                program("tests.benchmarks.bare_page", int(a_second / often), often, reads=True)
            )
            await drinkers(stack, int(said), 10)
            floor = await cpu_share(bare, WINDOW)
    print(  # noqa: T201
        f"\npage of 1,000 points: unused +{unused - without:.1f} MiB; first load {loads}; 10 streams +{shares[10]:.2%}"
        f" of a core (bare aiohttp with the same bytes {floor:.2%}), 32 streams +{shares[32]:.2%}; each"
        f" {a_second / 1024:.1f} KiB/s in {often:.1f} pieces; 10 streams +{grown[10]:.1f} MiB, 32 +{grown[32]:.1f} MiB"
    )
    assert unused - without <= 12.0
    assert grown[32] <= 8.0


async def first_load(port: int) -> str:
    base = f"http://127.0.0.1:{port}"
    await listening(base)
    async with Browser(base) as browser:
        began = time.monotonic()
        async with browser.session.get("/state") as got:
            plain = len(await got.read())
            packed = int(got.headers["Content-Length"])
        return f"state {packed / 1024:.1f} KiB packed of {plain / 1024:.1f} in {time.monotonic() - began:.3f} s"


async def test_a_flip_is_on_the_socket_and_a_hold_is_written(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(compound(tmp_path, with_page(QUICK, tmp_path)))
        await stack.enter_async_context(running(it.site))
        base = page_of(it.site)
        await listening(base)
        guard = await stack.enter_async_context(Browser(base))
        logins = []
        for _ in range(5):
            began = time.monotonic()
            await guard.log_in("zhang", "password of zhang")
            logins.append(time.monotonic() - began)
        seen = await stack.enter_async_context(guard.looking())
        await seen.until(lambda state: state["devices"]["smoke-1"]["points"]["smoke"]["quality"] == "GOOD")
        alone = [await fire(it, guard, seen) for _ in range(FIRES)]
        async with AsyncExitStack() as load:
            await drinkers(load, int(base.rpartition(":")[2]), 24)
            group = await load.enter_async_context(asyncio.TaskGroup())
            logging_in = group.create_task(log_in(base), name="logins")
            load.callback(logging_in.cancel)
            beside = [await fire(it, guard, seen) for _ in range(FIRES)]
    print(  # noqa: T201
        f"\nlog in: median {median(logins):.3f} s; polled each 100 ms, twice, then: "
        f"{told(alone)}; beside 24 streams and logins: {told(beside)}"
    )
    assert median(logins) <= 0.5


def told(fires: list[tuple[float, float]]) -> str:
    hold, page = [one[0] for one in fires], [one[1] for one in fires]
    return (
        f"flip to hold p50 {median(hold) * 1000:.0f} ms, p99 {quantile(hold, 0.99) * 1000:.0f} ms; "
        f"flip to bytes p50 {median(page) * 1000:.0f} ms, p99 {quantile(page, 0.99) * 1000:.0f} ms"
    )


async def log_in(base: str) -> None:
    async with Browser(base) as other:
        while True:
            await other.post("/login", {"name": "wang", "password": "password of wang"})


async def fire(it: Compound, guard: Browser, seen: Stream) -> tuple[float, float]:
    """Seconds from the register to the hold on the wire, and to the bytes at a reader; then all is reset."""
    await asyncio.sleep(0.037)
    began = time.monotonic()
    it.virtual.set("smoke-1.smoke", 1)
    await seen.until(lambda state: state["alarms"]["smoke-1/smoke/fire"]["active"])
    page = time.monotonic() - began
    await it.until(lambda: bool(it.written("relay-tcp", "do2", since=began)))
    hold = it.written("relay-tcp", "do2", since=began)[0].mono - began
    it.virtual.set("smoke-1.smoke", 0)
    await seen.until(lambda state: not state["alarms"]["smoke-1/smoke/fire"]["active"])
    assert (await guard.do(seen, "alarm.reset", alarm="smoke-1/smoke/fire"))[1]["ok"]
    await seen.until(lambda state: state["gates"]["north"]["causes"] == ["after"])
    assert (await guard.do(seen, "gate.release", gate="north"))[1]["ok"]
    await seen.until(lambda state: state["gates"]["north"]["commanded"] == "idle")
    return hold, page
