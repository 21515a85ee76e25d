"""However many come to look, the site is looked at four times a second."""

import asyncio
from collections import Counter
from collections.abc import Mapping

from gateway.clock import Clock
from gateway.local.state import SiteView
from gateway.local.streams import OF_ONE, Streams
from gateway.model import Instant, Json, Reading
from gateway.settings.types import PageFacts


class Site(Clock):
    """What is looked at, counted, and its time."""

    def __init__(self) -> None:
        self.alarms: dict[str, Mapping[str, Json]] = {}
        self.looks: Counter[str] = Counter()
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
        return {"devices": {}, "lines": {}}


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
