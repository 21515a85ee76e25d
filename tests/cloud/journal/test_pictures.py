"""Pictures in the journal: whole or not at all, first to go, never in an alarm's way."""

import asyncio
import shutil
from base64 import b64decode
from pathlib import Path

import orjson
import pytest

from gateway.cloud.journal.batch import Batch, Entry, Shed, State
from gateway.cloud.journal.journal import PICTURE_BYTES, Journal
from gateway.cloud.journal.outbox_window import Delivery
from gateway.cloud.outbox import Row
from gateway.model import Emit, Instant, Stream
from simulators.broker import LocalBroker
from tests.cloud.journaling import Hands, accepted, emit, event, journal, look, sequences, taken, until
from tests.cloud.mqtt.test_uplink_journal import gateway
from tests.cloud.running import eventually, topics
from tests.contract.judge import faults

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 300 + b"\xff\xd9"
AT = Hands().now()
UNSYNCED = Instant(1000.0, 5.0, synced=False)


def keep(store: Journal, number: int, jpeg: bytes = JPEG, at: Instant = AT) -> str:
    name = f"0199d2f2-7d00-7000-8000-{number:012d}"
    store.picture("lpr-north-in", f"passage-{number}", "plate", at, jpeg, name)
    return name


async def test_a_picture_is_the_event_of_the_contract(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        name = keep(store, 1)
        store.picture("yard", None, "scene", AT, JPEG, "0199d2f2-7d00-7000-8000-000000000002")
        first, second = await taken(store, Stream.PICTURE, 2)
    told = orjson.loads(first.message())
    assert faults(told) == []
    assert (told["id"], told["subject"], told["passage"], told["picturekind"]) == (
        name, "lpr-north-in", "passage-1", "plate",
    )  # fmt: skip
    assert (told["datacontenttype"], told["time"], told["takenat"]) == ("image/jpeg", AT.rfc3339(), AT.rfc3339())
    assert b64decode(told["data_base64"], validate=True) == JPEG
    assert "data_base64" not in event(first), "base64 is made when it is sent"
    assert faults(orjson.loads(second.message())) == []
    assert "passage" not in event(second)


async def test_it_survives_a_restart_byte_for_byte_and_a_kill(tmp_path: Path) -> None:
    async with journal(tmp_path / "a") as store:
        for number in range(10):
            keep(store, number)
        await accepted(store, [])
        before = [row.message() for row in await taken(store, Stream.PICTURE, 10)]
        (tmp_path / "b").mkdir()
        for name in ("journal.db-log", "journal.db-wal", "journal.db"):
            shutil.copy(tmp_path / "a" / name, tmp_path / "b" / name)
    for life in ("a", "b"):
        async with journal(tmp_path / life) as store:
            assert [row.message() for row in await taken(store, Stream.PICTURE, 10)] == before


async def test_what_is_at_hand_is_little(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        for number in range(60):
            keep(store, number)
        await accepted(store, [])
        assert store.waiting(Stream.PICTURE) == 60
        assert len(store._delivery.rows()) <= 4  # noqa: SLF001 - memory is what is tested
        for row in await taken(store, Stream.PICTURE, 60):
            store.quarantine(row, "larger than the broker's limit")
        await accepted(store, [])
        for _ in range(3):  # each connection offers them again, and finds them too large again
            store.rewind()
            for row in await taken(store, Stream.PICTURE, 60):
                store.quarantine(row, "larger than the broker's limit")
            assert sum(row.size for row, _ in store._delivery.rows()) <= 5 * len(JPEG)  # noqa: SLF001
        assert store.stats().streams[Stream.PICTURE].quarantined == 60


async def test_deleted_with_its_event(tmp_path: Path) -> None:
    async with journal(tmp_path, keep={Stream.PICTURE: 0.0}) as store:
        keep(store, 1)
        (row,) = await taken(store, Stream.PICTURE, 1)
        store.acknowledge(row)
        await until(lambda: store.waiting(Stream.PICTURE) == 0)
    assert look(tmp_path, "SELECT (SELECT count(*) FROM event WHERE stream = 5), count(*) FROM picture") == [(0, 0)]


async def test_kept_as_history_and_replayed_whole(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        keep(store, 1)
        (row,) = await taken(store, Stream.PICTURE, 1)
        store.acknowledge(row)
        await accepted(store, [])
        assert await store.history.piece(Stream.PICTURE, 1, 9) == [(1, row.message())]


async def test_they_go_first_and_the_gap_is_named(tmp_path: Path) -> None:
    async with journal(tmp_path, max_size=2 << 20) as store:
        for number in range(40):
            keep(store, number)
            await accepted(store, [emit()])
        await accepted(store, [emit(), emit(Stream.INSPECTION)])
        named = await taken(store, Stream.AUDIT, 1)
        assert event(named[0])["data"]["stream"] == "picture"
        assert event(named[0])["data"]["reason"] == "full"
        left = await taken(store, Stream.PICTURE, store.waiting(Stream.PICTURE))
        assert len(left) < 30
        assert sequences(left) == list(range(41 - len(left), 41))
        assert store.stats().shed == 40 - len(left)
        assert sequences(await taken(store, Stream.ALARM, 41)) == list(range(1, 42))
    (count,) = look(tmp_path, "SELECT count(*) FROM picture")
    assert count[0] == len(left)


async def test_in_memory_they_go_before_telemetry(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    hands = Hands()
    async with journal(tmp_path / "file" / "store", hands) as store:
        assert store.lost
        for _ in range(50):
            store.telemetry("d", {"x": "x" * 1000}, hands.now())
        for number in range(300):
            keep(store, number)
        assert store.stats().queue_bytes < 16 << 20
        assert store.waiting(Stream.TELEMETRY) == 50
        assert 100 < store.waiting(Stream.PICTURE) < 250


async def test_born_unsynced_both_times_are_corrected(tmp_path: Path) -> None:
    hands = Hands(mono=1000.0, wall=5.0, synced=False)
    async with journal(tmp_path, hands) as store:
        store.picture("yard", None, "scene", UNSYNCED, JPEG, "x")
        await accepted(store, [])
        hands.wall, hands.synced = AT.wall, True
        store.clock_synced(hands.run(10.0))
        await until(lambda: not store._cycle.chores.correct)  # noqa: SLF001
        (row,) = await taken(store, Stream.PICTURE, 1)
    told = orjson.loads(row.message())
    assert (told["clock"], told["time"], told["takenat"]) == ("corrected", AT.rfc3339(), AT.rfc3339())
    assert b64decode(told["data_base64"]) == JPEG


@pytest.mark.parametrize("size", [0, PICTURE_BYTES + 1])
async def test_an_empty_or_a_large_one_is_not_taken(tmp_path: Path, size: int) -> None:
    async with journal(tmp_path) as store:
        with pytest.raises(ValueError, match="1 to 98304 are taken"):
            store.picture("yard", None, "scene", AT, b"x" * size, "x")
        keep(store, 1, b"x" * PICTURE_BYTES)
        assert sequences(await taken(store, Stream.PICTURE, 1)) == [1]


async def test_one_in_flight_and_none_while_an_alarm_is_not_acknowledged(tmp_path: Path) -> None:
    async with LocalBroker() as broker:
        async with gateway(tmp_path, broker.port) as (store, _, _):
            now = store._now()  # noqa: SLF001
            store.append([Emit(Stream.ALARM, "alarm.raised", None, {}, "a", now)])
            for number in range(5):
                keep(store, number, at=now)
            await accepted(store, [])
            await eventually(lambda: not (store.waiting(Stream.PICTURE) or store.waiting(Stream.ALARM)))
        told = topics(broker.received)
    assert told.index("alarm") < told.index("picture")
    assert told.count("picture") == 5
    pictures = [orjson.loads(m.payload) for m in broker.received if m.topic.endswith("/picture")]
    assert all(b64decode(picture["data_base64"]) == JPEG for picture in pictures)


async def test_an_alarm_is_accepted_while_pictures_pour_in(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with journal(tmp_path) as store:
        slowest = 0.0
        for number in range(40):
            keep(store, number)
            keep(store, 1000 + number)
            begun = loop.time()
            await accepted(store, [emit()])
            slowest = max(slowest, loop.time() - begun)
        assert slowest < 0.5


async def test_one_that_is_shed_while_it_is_set_aside_is_counted_nowhere() -> None:
    delivery, batch = Delivery(), Batch()
    row = Row(1, Stream.PICTURE, 1, b"{}", JPEG)
    delivery.offer([Entry(row, "j", 0.0, None)], written=True)
    window = delivery.front(Stream.PICTURE)
    assert window is not None
    assert window.take() == row
    delivery.quarantine(row, "refused", batch)
    delivery.shed(Shed(Stream.PICTURE, 1, 1, 1, "full"), State.WAITING, 1)
    assert [delivery.window(Stream.PICTURE, state).waiting for state in State] == [0, 0]
    assert delivery.rows() == []
