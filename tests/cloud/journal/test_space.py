from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from gateway.cloud.journal.batch import Batch, Entry, Marks, State
from gateway.cloud.journal.space import Ballast, Space
from gateway.cloud.journal.sqlite import Database
from gateway.cloud.journal.tables import Tables
from gateway.cloud.outbox import Row
from gateway.model import Stream
from tests.cloud.journaling import WALL, until

DAY = 86400.0
KEEP = dict.fromkeys(Stream, 10 * DAY) | {Stream.TELEMETRY: DAY}
ROOM = 4 << 20
LIVED = 1000 * DAY


class Bench:
    """A store that is filled row by row."""

    def __init__(self, folder: Path) -> None:
        self.store = Database(folder, ROOM)
        self.ledger = Tables(self.store, "boot-1", frozenset(), age_every=0.0)
        self.space = Space(self.store, KEEP)
        self.ledger.begin("j", WALL, None, check=True)
        self.n = 0

    def add(self, stream: Stream, count: int, *, acked: bool, age: float = 0.0, size: int = 1000) -> None:
        """Events that were born when the box had lived through `age` seconds less than now; the oldest first."""
        batch = Batch()
        for _ in range(count):
            self.n += 1
            payload = orjson.dumps({"id": str(self.n), "text": "x" * size})
            batch.add(Entry(Row(self.n, stream, self.n, payload), "j", WALL, None, acked=acked))
        batch.marks = Marks("j", WALL, {stream: (self.n, self.n)}, lived=LIVED - age, top=self.n)
        self.ledger.write(batch)

    def left(self) -> dict[Stream, int]:
        rows = self.store.execute("SELECT stream, count(*) FROM event GROUP BY stream")
        return {tuple(Stream)[number]: count for number, count in rows}

    def waiting(self) -> dict[Stream, int]:
        return {stream: count for (stream, _), count in self.ledger.counts().items()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def test_age_removes_what_was_delivered_and_is_old(bench: Bench) -> None:
    bench.add(Stream.AUDIT, 5, acked=False, age=20 * DAY)
    for age, count in ((20 * DAY, 250), (5 * DAY, 5), (0.5 * DAY, 5)):
        for stream in (Stream.ALARM, Stream.TELEMETRY):
            bench.add(stream, count, acked=True, age=age)
    while bench.space.expire(LIVED).more:
        pass
    assert bench.left() == {Stream.ALARM: 10, Stream.TELEMETRY: 5, Stream.AUDIT: 5}


def test_who_goes_first(bench: Bench) -> None:
    bench.add(Stream.ALARM, 50, acked=True, age=20 * DAY)
    bench.add(Stream.PICTURE, 16, acked=False)
    bench.add(Stream.AUDIT, 20, acked=True)
    bench.add(Stream.ACCESS, 20, acked=True)
    bench.add(Stream.ALARM, 1030, acked=True, size=100)
    bench.add(Stream.TELEMETRY, 50, acked=False)
    bench.add(Stream.ALARM, 50, acked=False)
    bench.add(Stream.TELEMETRY, 50, acked=False)
    order = []
    while (done := bench.space.relieve(LIVED)).removed:
        order.append((done.removed, [shed.stream for shed, _, _ in done.sheds]))
    # Delivered beyond `keep`; delivered audit and passages, the older first, and alarms down to the last thousand;
    # undelivered pictures, undelivered telemetry; delivered alarms; never an alarm that waits.
    assert order == [
        (50, []), (20, []), (20, []), (80, []), (16, [Stream.PICTURE]), (100, [Stream.TELEMETRY]), *[(200, [])] * 4,
        (150, []),
    ]  # fmt: skip
    assert bench.left() == {Stream.ALARM: 50}
    assert bench.waiting() == {Stream.ALARM: 50}
    gaps = bench.store.execute("SELECT stream, count FROM shed ORDER BY id")
    assert gaps == [(5, 16), (4, 100)]


def test_delivered_goes_before_undelivered(bench: Bench) -> None:
    bench.add(Stream.TELEMETRY, 50, acked=True)
    bench.add(Stream.PICTURE, 16, acked=True)
    bench.add(Stream.PICTURE, 50, acked=False)
    assert bench.space.relieve(LIVED).sheds == []
    assert bench.left() == {Stream.TELEMETRY: 50, Stream.PICTURE: 50}
    assert bench.space.relieve(LIVED).sheds == []
    assert bench.left() == {Stream.PICTURE: 50}


def test_what_the_broker_would_not_take_goes_before_what_waits(bench: Bench) -> None:
    bench.add(Stream.PICTURE, 20, acked=False)
    bench.store.execute("UPDATE outbox SET state = 1 WHERE n > 10")
    states = [state for _ in range(2) for _, state, _ in bench.space.relieve(LIVED).sheds]
    assert states == [State.ASIDE, State.WAITING]
    assert bench.left() == {}


def test_what_was_there_before_ages_were_known_is_not_old(bench: Bench) -> None:
    bench.add(Stream.ALARM, 50, acked=True)
    bench.store.execute("DELETE FROM age")
    bench.add(Stream.ALARM, 1, acked=True)
    assert bench.space.expire(LIVED).removed == 0
    assert bench.space.expire(LIVED + 11 * DAY).removed == 51


def test_no_number_is_given_again_where_all_is_gone(bench: Bench) -> None:
    """The ages that are known would be those of other events."""
    bench.add(Stream.AUDIT, 50, acked=True, age=20 * DAY)
    assert bench.space.relieve(LIVED).removed == 50
    bench.store.close()
    assert Tables(bench.store, "boot-1", frozenset()).begin("j", WALL, None, check=True).top == 50


def test_room_is_made_down_to_85_percent_and_given_back_to_the_disk(bench: Bench, tmp_path: Path) -> None:
    while not bench.space.crowded():
        bench.add(Stream.TELEMETRY, 50, acked=False)
    assert bench.space.make_room(LIVED).more
    while bench.space.make_room(LIVED).more:
        pass
    assert not bench.space.crowded()
    assert bench.left()[Stream.TELEMETRY] > 1000
    assert not bench.space.vacuum()
    bench.store.execute("DELETE FROM outbox")
    bench.store.execute("DELETE FROM event")
    before = bench.store.used()[0]
    slices = 0
    while bench.space.vacuum():
        slices += 1
    assert slices
    assert bench.store.used()[0] <= before // 2 + 600
    bench.store.checkpoint()
    assert (tmp_path / "journal.db").stat().st_size < before * 4096


async def test_a_reserve_is_made_only_where_there_is_room_and_given_up_at_once(tmp_path: Path) -> None:
    huge, small = Ballast(tmp_path / "huge", 1 << 60), Ballast(tmp_path / "small", 1 << 16)
    huge.make()
    small.make()
    await until((tmp_path / "small").exists)
    assert small.present
    assert not huge.present
    assert small.give_up()
    assert not small.give_up()
    await until(lambda: not list(tmp_path.iterdir()))
