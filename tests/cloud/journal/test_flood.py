"""A flood of what the broker takes at once: the store stays within its size and usable, and the process flat."""

import os
import time
from pathlib import Path

import orjson
import pytest

from gateway.cloud.journal.journal import Journal
from gateway.model import Emit, Stream
from tests.cloud.journaling import Hands, accepted, emit, journal, look, until

SIZE = 8 << 20
ROUNDS = 3000
ALARMS_KEPT = 1000
"""So many stay at least, however full the store is."""
FLAT = 12 << 20
"""Bytes by which the process may grow after the first quarter."""
JPEG = bytes(range(256)) * 300
SOAK_S = 60.0 * float(os.environ.get("FLOOD_MINUTES", "30"))


def delivered(store: Journal) -> int:
    """The broker takes what it is given. How many wait still."""
    for stream in Stream:
        while (row := store.take(stream)) is not None:
            store.acknowledge(row)
    return sum(map(store.waiting, Stream))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def flood(folder: Path, seconds: float) -> None:
    """Passages with pictures, refused commands, telemetry, and now and then an alarm."""
    hands = Hands(synced=False)
    async with journal(folder, hands, max_size=SIZE, alarm_reserve=1 << 20) as store:
        alarms: list[str] = []
        begun, n, grown, start = time.monotonic(), 0, 0, 0
        while (passed := time.monotonic() - begun) < seconds or n < ROUNDS:
            n += 1
            hands.run(1.0)
            effects: list[Emit] = [
                emit(Stream.ACCESS, hands.now(), plate="x" * 400), emit(Stream.AUDIT, hands.now(), args="x" * 400)
            ]  # fmt: skip
            if n % 50 == 0:
                effects.append(emit(Stream.ALARM, hands.now(), n=n))
                alarms.append(effects[-1].id)
            if n % 4 == 0:
                store.picture("c", None, "plate", hands.now(), JPEG, f"p-{n}")
            store.telemetry("d", orjson.dumps({"text": "x" * 400}), hands.now())
            await accepted(store, effects)
            delivered(store)
            if not start and passed > seconds / 4:
                start = resident()
            grown = max(grown, resident() - start if start else 0)
            assert not store.lost, n
        await until(lambda: delivered(store) == 0)
        stats = store.stats()
        assert (stats.losses, stats.shed) == (0, 0), "all was delivered: nothing had to go undelivered"
        assert stats.file_bytes <= SIZE
        assert grown < FLAT
    assert (folder / "journal.db").stat().st_size <= SIZE
    kept = [orjson.loads(payload)["id"] for (payload,) in look(folder, "SELECT payload FROM event WHERE stream = 0")]
    assert len(kept) >= min(len(alarms), ALARMS_KEPT)
    assert kept == alarms[-len(kept) :], "the last alarms stay longest"


async def test_a_flood_that_is_delivered_never_fills_the_store(tmp_path: Path) -> None:
    await flood(tmp_path, 3.0)


@pytest.mark.soak
async def test_half_an_hour_of_a_flood_that_is_delivered(tmp_path: Path) -> None:
    await flood(tmp_path, SOAK_S)
