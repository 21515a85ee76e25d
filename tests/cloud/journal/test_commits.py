"""The commit queue when neither disk nor broker takes anything: what goes, what stays, and what it costs in memory."""

import asyncio
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cloud.journal.batch import ENTRY_BYTES, KEY_BYTES
from gateway.cloud.journal.journal import Journal
from gateway.model import Emit, Json, Remember, Stream
from tests.cloud.journaling import Hands, all_of, emit, event, journal, until

ROOM = 64 << 10
KINDS = ("fire", "gas", "fault", "water")


def dead(folder: Path, **settings: Any) -> Journal:
    """A journal whose store can never be written: a file lies where its folder should be."""
    (folder / "store").write_text("in the way")
    return journal(folder / "store", **settings)


def transition(point: str, kind: str, number: int) -> Emit:
    """An alarm that comes or goes."""
    type_ = "alarm.cleared" if number % 2 else "alarm.raised"
    data: dict[str, Json] = {"kind": kind, "number": number, "text": "x" * 300}
    return Emit(Stream.ALARM, type_, point, data, f"{point}-{number}", Hands().now())


Step = tuple[str, int]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(("telemetry", "picture", "passage", *KINDS)), st.integers(0, 3)), max_size=400)
)
def test_whatever_comes_the_last_of_each_point_stays_what_is_worth_least_goes_and_every_gap_is_told(
    steps: list[Step],
) -> None:
    async def run(folder: Path) -> None:
        hands = Hands()
        async with dead(folder, queue_bytes=ROOM) as store:
            await until(lambda: store.lost)
            latest: dict[str, int] = {}
            for number, (what, which) in enumerate(steps):
                if what == "telemetry":
                    store.telemetry("d", orjson.dumps({"text": "x" * 300}), hands.now())
                elif what == "picture":
                    store.picture("c", None, "plate", hands.now(), b"x" * 2000, f"p-{number}")
                elif what == "passage":
                    if store.roomy:
                        store.append([emit(Stream.ACCESS, number=number)])
                else:
                    store.append([transition(f"d{which}/p/{what}", what, number)])
                    latest[f"d{which}/p/{what}"] = number
            stats = store.stats()
            told = [event(row) for row in await all_of(store, Stream.ALARM)]
            assert {one["subject"]: one["data"]["number"] for one in told} == latest
            assert stats.queue_bytes < ROOM + (8 + 16) * 2000, "the last of each point and no more"
            if len({one["id"] for one in told}) < sum(what in KINDS for what, _ in steps):
                assert store.waiting(Stream.PICTURE) == 0, "pictures and telemetry go before any alarm"
                assert store.waiting(Stream.TELEMETRY) <= 1
            if any(what in ("fire", "gas") for what, _ in steps):
                grave = [one for one in told if one["data"]["kind"] in ("fire", "gas")]
                if len(grave) < sum(what in ("fire", "gas") for what, _ in steps):
                    others = Counter(one["subject"] for one in told if one["data"]["kind"] not in ("fire", "gas"))
                    assert set(others.values()) <= {1}, "fires go last of all"
            lost = {stream: store.last(stream) - store.waiting(stream) for stream in Stream}
            assert lost[Stream.ACCESS] == 0
            assert sum(lost.values()) == stats.shed

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_who_chatters_pays_for_it(tmp_path: Path) -> None:
    async with dead(tmp_path, queue_bytes=ROOM) as store:
        await until(lambda: store.lost)
        store.append([transition("calm/p/fault", "fault", number) for number in range(4)])
        for number in range(1000):
            store.append([transition("chatters/p/fault", "fault", number)])
        told = [event(row) for row in await all_of(store, Stream.ALARM)]
        subjects = Counter(one["subject"] for one in told)
        assert subjects["calm/p/fault"] == 4
        assert told[-1]["data"]["number"] == 999
        gaps = [event(row)["data"] for row in await all_of(store, Stream.AUDIT)]
        assert {(gap["stream"], gap["reason"]) for gap in gaps} == {("alarm", "memory")}


async def test_nobody_looks_again_and_again_for_what_is_not_there(tmp_path: Path) -> None:
    """Fires of many points, nothing of which may go: each costs what the first one did."""
    async with dead(tmp_path, queue_bytes=ROOM) as store:
        await until(lambda: store.lost)
        begun = time.process_time()
        for number in range(5000):
            store.append([transition(f"d{number}/p/fire", "fire", number)])
        assert time.process_time() - begun < 3.0
        assert store.waiting(Stream.ALARM) == 5000


async def test_what_an_event_and_a_remembered_key_take_up_is_counted(tmp_path: Path) -> None:
    async with dead(tmp_path) as store, traced():
        await until(lambda: store.lost)
        for what in ("events", "keys"):
            before, counted = tracemalloc.get_traced_memory()[0], store.stats().queue_bytes
            for number in range(3000):
                one = transition(f"d{number}/p/fault", "fault", number)
                store.append([one] if what == "events" else [Remember(f"alarm/{number:030d}", dict(one.data))])
            await asyncio.sleep(0)
            took, told = tracemalloc.get_traced_memory()[0] - before, store.stats().queue_bytes - counted
            assert took < told < 3 * took, (what, took / 3000, told / 3000, ENTRY_BYTES, KEY_BYTES)


@asynccontextmanager
async def traced() -> AsyncIterator[None]:
    """What Python holds is counted meanwhile."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
