"""A plate is erased everywhere: on disk, at hand, in the pictures of its passages; nothing else is."""

import time
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud.journal.redaction import Redaction
from gateway.errors import StoreError
from gateway.model import Emit, Json, Stream
from tests.cloud.journal.test_pictures import JPEG, keep
from tests.cloud.journaling import Hands, accepted, emit, event, journal, sequences, taken

PLATE, OTHER, RAW = "沪A12345", "沪A12346", "沪A·12345"
AT = Hands().now()


def passage(number: int, plate: str = PLATE, raw: str = RAW) -> Emit:
    data = {"passage": f"passage-{number}", "plate": plate, "plate_raw": raw, "reason": f"{plate}是住户"}
    return Emit(Stream.ACCESS, "access.passage", "lpr", data, f"p-{number}", AT)


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("journal.db*")))


async def test_everywhere(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [passage(1), passage(2, OTHER, OTHER), passage(3)])
        put: Json = {"put": [{"plate": PLATE}, {"plate": OTHER}]}
        await accepted(
            store,
            [emit(Stream.AUDIT, cmd="access.update", args=put), emit(Stream.ALARM, text=f"{PLATE} stands in the way")],
        )
        for number in (1, 2, 3):
            keep(store, number)
        store.acknowledge((await taken(store, Stream.ACCESS, 1))[0])
        (delivered,) = await taken(store, Stream.PICTURE, 1)
        store.acknowledge(delivered)
        assert await store.erase(PLATE) == (3, 2)

        rest = await taken(store, Stream.ACCESS, 2)
        assert [event(row)["id"] for row in rest] == ["p-2", "p-3"]
        assert event(rest[0])["data"]["plate"] == OTHER
        gone = event(rest[1])["data"]
        assert (gone["plate"], gone["plate_raw"], gone["reason"]) == (None, None, "[erased]是住户")
        ((_, history),) = await store.history.piece(Stream.ACCESS, 1, 1)
        assert orjson.loads(history)["data"]["plate"] is None
        (audit, named) = await taken(store, Stream.AUDIT, 2)
        assert event(audit)["data"]["args"]["put"] == [{"plate": "[erased]"}, {"plate": OTHER}]
        assert event(named)["data"] == {"stream": "picture", "first": 3, "last": 3, "count": 1, "reason": "erased"}
        assert sequences(await taken(store, Stream.PICTURE, 1)) == [2]
        assert store.take(Stream.PICTURE) is None
        assert store.waiting(Stream.PICTURE) == 1
        (alarm,) = await taken(store, Stream.ALARM, 1)
        assert event(alarm)["data"]["text"].startswith(PLATE)
        store.acknowledge(alarm)
        left = bytes_of(tmp_path)
        assert left.count(PLATE.encode()) == left.count(f"{PLATE} stands".encode()), "the alarm's"
        assert RAW.encode() not in left
        assert left.count(JPEG[:1000]) == 1
        assert await store.erase(PLATE) == (0, 0)


async def test_what_was_sent_and_not_acknowledged_goes_again_without_it(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [passage(1)])
        (sent,) = await taken(store, Stream.ACCESS, 1)
        await store.erase(PLATE)
        store.rewind()
        (again,) = await taken(store, Stream.ACCESS, 1)
        assert (again.n, event(again)["id"]) == (sent.n, event(sent)["id"])
        assert PLATE.encode() not in again.payload
        store.acknowledge(again)
        assert store.waiting(Stream.ACCESS) == 0


async def test_a_large_history_is_gone_through_while_alarms_are_accepted(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        for first in range(0, 5000, 500):
            await accepted(store, [passage(first + n, PLATE if n % 100 == 0 else OTHER) for n in range(500)])
        begun = time.monotonic()
        assert await store.erase(PLATE) == (50, 0)
        assert time.monotonic() - begun < 5.0
        told = [event(row)["data"]["plate"] for row in await taken(store, Stream.ACCESS, 5000)]
        assert told.count(None) == 50
        assert told.count(OTHER) == 4950


async def test_without_a_store_it_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    async with journal(tmp_path / "file" / "store") as store:
        with pytest.raises(StoreError):
            await store.erase(PLATE)


@pytest.mark.parametrize(
    ("plate", "text", "left"),
    [
        ("沪AD1234", "沪AD12345", "沪AD12345"),
        ("粤B1234", "粤B1234警", "粤B1234警"),
        ("粤B1234", "车牌粤B1234离开", "车牌[erased]离开"),
        ("AB123", "XAB123", "XAB123"),
        ("AB123", "AB123, CAB123", "[erased], CAB123"),
    ],
)
def test_another_plate_is_left_alone(plate: str, text: str, left: str) -> None:
    payload = orjson.dumps({"id": "x", "data": {"text": text}})
    changed = Redaction(plate).of(payload)
    assert (payload if changed is None else changed[0]) == orjson.dumps({"id": "x", "data": {"text": left}})


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=6) | st.sampled_from([PLATE, f"x{PLATE}", OTHER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["plate", "a", PLATE]), inner),
)


@given(st.dictionaries(st.sampled_from(["plate", "plate_raw", "args"]), JSON))
def test_whatever_the_event_looks_like(data: dict[str, object]) -> None:
    payload = orjson.dumps({"id": "x", "data": data})
    changed = Redaction(PLATE).of(payload)
    assert Redaction(PLATE).of(payload if changed is None else changed[0]) is None
    if changed is None:
        assert PLATE.encode() not in payload


LONGER = ("沪AD12345", "沪AD1234")
"""A new-energy plate, and one that it begins with."""


async def test_what_is_kept_of_a_plate_is_of_the_whole_plate(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(
            store, [passage(1, LONGER[0], LONGER[0]), passage(2, LONGER[1], LONGER[1]), passage(3, OTHER, OTHER)]
        )
        for plate, ids in ((LONGER[0], ["p-1"]), (LONGER[1], ["p-2"]), ("沪AD123", []), ("D12345", []), ("沪", [])):
            assert [orjson.loads(one)["id"] for one in await store.history.naming(plate)] == ids, plate


@given(st.text("沪ABD0123456789警", min_size=1, max_size=9), st.text("ABD0123456789", min_size=1, max_size=3))
def test_no_longer_plate_is_named_by_a_shorter_one(plate: str, more: str) -> None:
    named = orjson.dumps({"data": {"plate": plate + more, "tried": [plate + more], "by": {plate + more: 1}}})
    assert not Redaction(plate).names(named) or plate in more
    assert Redaction(plate + more).names(named)
