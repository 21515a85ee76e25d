"""However many come to look, the site is looked at four times a second."""

import asyncio
from collections import Counter
from collections.abc import Mapping

from gateway.clock import Clock
from gateway.local.state import SiteView
from gateway.local.streams import BEAT_S, OF_ONE, Streams
from gateway.model import Instant, Json, Reading
from gateway.settings.types import PageFacts


class Site(Clock):
    """What is looked at, counted, and its time."""

    def __init__(self) -> None:
        self.alarms: dict[str, Mapping[str, Json]] = {}
        self.looks: Counter[str] = Counter()
        self.is_up = True
        self.mono = 100.0

    def now(self) -> Instant:
        return Instant(self.mono, 1.8e9 + self.mono, synced=True)

    def standing(self) -> Mapping[str, Mapping[str, Json]]:
        self.looks["standing"] += 1
        return dict(self.alarms)

    def gates(self) -> Mapping[str, Json]:
        return {}

    def readings(self) -> Mapping[str, Mapping[str, Reading]]:
        self.looks["readings"] += 1
        return {}

    def under_test(self) -> Mapping[str, str]:
        return {}

    def rounds(self) -> Mapping[str, Json]:
        return {}

    def health(self) -> Mapping[str, Json]:
        self.looks["health"] += 1
        return {"devices": {}, "lines": {"loop": {"up": self.is_up}}}


class Told:
    """A reader that takes all at once."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def send(self, data: bytes) -> None:
        self.pieces.append(data)

    def offer(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        return True


def streams(site: Site) -> Streams:
    return Streams(SiteView(PageFacts({}, {}, {}, {}, {}, {}, {}, {}), {}, {}), site, site)


async def test_a_hundred_that_come_within_250_ms_cost_one_look() -> None:
    site = Site()
    them = streams(site)
    told = Told()

    async with asyncio.TaskGroup() as group:
        readers = []
        for number in range(24):
            reader = them.join(f"10.0.0.{number // OF_ONE}", None)
            assert reader is not None
            readers.append(reader)
            group.create_task(them.serve(reader, None, told, packed=False), name="reader")
        for _ in range(100):
            them.snapshot()
            await asyncio.sleep(0)
        assert (site.looks["standing"], site.looks["readings"]) == (1, 1)
        assert sum(b"event: state" in one for one in told.pieces) == 24

        site.mono += 0.25
        site.alarms["smoke-1/smoke/fire"] = {"kind": "fire"}
        assert "smoke-1/smoke/fire" in str(them.snapshot().state)
        assert site.looks["standing"] == 2
        async with asyncio.timeout(5):
            while sum(b"smoke-1/smoke/fire" in one for one in told.pieces) < 24:
                await asyncio.sleep(0)  # who came to look has woken the others
        for reader in readers:
            them.leave(reader)


async def test_no_heart_beat_is_left_out_while_there_is_news_all_the_time() -> None:
    """Who sees none for 15 s may press nothing, just while much goes on."""
    site = Site()
    them = streams(site)
    told = Told()
    step, beats = 0.5, 6
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        reader = them.join("10.0.0.1", None)
        assert reader is not None
        running = group.create_task(them.run(), name="run")
        group.create_task(them.serve(reader, None, told, packed=False), name="reader")
        while reader.out is None:
            await asyncio.sleep(0)
        told.pieces.clear()
        for number in range(int(beats * BEAT_S / step) + 1):
            site.mono += step
            site.alarms["smoke-1/smoke/fire"] = {"kind": "fire", "count": number}
            looks = site.looks["standing"]
            them.news()
            while site.looks["standing"] == looks:
                await asyncio.sleep(0)
        assert sum(piece.count(b"event: beat") for piece in told.pieces) == beats
        running.cancel()
        them.leave(reader)


def test_health_is_asked_every_other_second_and_told_in_between() -> None:
    site = Site()
    them = streams(site)
    for quarter in range(16):
        assert them.snapshot().state["lines"] == {"loop": {"up": quarter < 8, "busy": 0.0}}
        site.is_up = False
        site.mono += 0.25

    assert (site.looks["readings"], site.looks["health"]) == (16, 2)
