"""What stands on `alarm/active` at the start: read once, before anything is sent; any bytes, any broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud.mqtt.recall import RecalledNumbers, recalled
from gateway.cloud.mqtt.uplink import Uplink
from gateway.model import Remember, Stream
from tests.cloud.journaling import SOURCE, accepted, all_of, emit, event, journal, look, sequences, taken, until
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.running import ROOT, an_uplink, eventually, settings

ALARM = {
    "alarm": "0199", "name": "fire", "kind": "fire", "severity": "critical", "class": "major", "state": "unack",
    "active": True, "acknowledged": False, "latched": True, "shelved": False, "disabled": False, "first_out": True,
    "device": "d", "point": "p", "raised_at": "2026-11-22T12:30:58.947129Z", "overdue": False,
}  # fmt: skip


def message(**data: object) -> bytes:
    return orjson.dumps({"source": SOURCE, "type": "sitegateway.alarm.active.v1", "data": data})


def test_what_is_ours_is_read() -> None:
    said = recalled(message(journal="j", upto=f"{7:020d}", given={"audit": 9}, alarms=[ALARM, {"alarm": 1}]), SOURCE)
    assert said is not None
    assert (said.numbers.journal, said.numbers.given[Stream.ALARM], said.numbers.given[Stream.AUDIT]) == ("j", 7, 9)
    assert said.numbers.stored
    assert [one["alarm"] for one in said.alarms] == ["0199"]


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", message(), message(journal=1), message(journal=""), message(journal="x" * 2000),
     message(journal="j").replace(b"/sites/s", b"/sites/t"), message(journal="j").replace(b"active", b"other")],
)  # fmt: skip
def test_what_is_not_ours_says_nothing(payload: bytes) -> None:
    assert recalled(payload, SOURCE) is None


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=200) | _json.map(lambda value: repr(value).encode()))
def test_any_bytes(payload: bytes) -> None:
    recalled(payload, SOURCE)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("journal", "upto", "given", "stored", "alarms"), _json)))
def test_any_data(data: dict[str, Any]) -> None:
    try:
        payload = message(**data)
    except TypeError:
        return  # no JSON
    said = recalled(payload, SOURCE)
    if said is not None:
        assert all(0 <= number < 1 << 62 for number in said.numbers.given.values())


# ---- the journal ----------------------------------------------------------------------------------


async def test_what_this_life_has_numbered_gets_new_numbers_and_keeps_its_ids(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(3)])
        name = store.journal_id
    async with journal(tmp_path) as store:
        effects = [emit(n=n) for n in range(3, 700)]
        await accepted(store, [*effects, Remember("k", 1)])
        store.append([emit(n=700)])  # not committed yet
        loss = store.judged(RecalledNumbers(name, {Stream.ALARM: 9, Stream.AUDIT: 4}, stored=True))
        assert loss is not None
        assert [(gap.stream, gap.first, gap.last) for gap in loss.missing] == [
            (Stream.ALARM, 4, 9), (Stream.AUDIT, 1, 4),
        ]  # fmt: skip
        await store.went_back(loss)
        assert store.journal_id != name
        assert store.last(Stream.ALARM) == 698
        await accepted(store, [emit(n=701)])
        rows = await all_of(store, Stream.ALARM)
        read = [event(row) for row in rows]
        assert [one["data"]["n"] for one in read] == list(range(702))
        assert sequences(rows) == [1, 2, 3, *range(1, 700)]
        assert [one["journal"] for one in read] == [name] * 3 + [store.journal_id] * 699
        assert [one["id"] for one in read[3:700]] == [one.id for one in effects]
        assert [f"{row.sequence:020d}" for row in rows] == [one["sequence"] for one in read]
    async with journal(tmp_path) as store:
        assert store.loss is None
        assert store.memory == {"k": 1}
        assert [row.payload for row in await all_of(store, Stream.ALARM)] == [row.payload for row in rows]
        assert store.last(Stream.ALARM) == 699


async def test_what_was_numbered_without_a_store_too(tmp_path: Path) -> None:
    """The store goes between the start and the first connection, and comes back later."""
    folder = tmp_path / "store"
    async with journal(folder) as store:
        await accepted(store, [emit(n=n) for n in range(3)])
        name = store.journal_id
    async with journal(folder) as store:
        await accepted(store, [emit(n=3)])
        folder.rename(tmp_path / "away")
        folder.write_text("in the way")
        await accepted(store, [emit(n=4)])
        await until(lambda: store.lost)
        loss = store.judged(RecalledNumbers(name, {Stream.ALARM: 9}, stored=True))
        assert loss is not None
        await store.went_back(loss)
        rows = await taken(store, Stream.ALARM, 5)
        assert [(event(row)["data"]["n"], row.sequence) for row in rows] == [(0, 1), (1, 2), (2, 3), (3, 1), (4, 2)]
        folder.unlink()
        (tmp_path / "away").rename(folder)
        await until(lambda: not store.lost, 20.0)
        await accepted(store, [emit(n=5)])
    async with journal(folder) as store:
        rows = await all_of(store, Stream.ALARM)
        assert [event(row)["data"]["n"] for row in rows] == list(range(6))
        assert len({(event(row)["journal"], row.sequence) for row in rows}) == 6
    assert look(folder, "PRAGMA integrity_check") == [("ok",)]


async def test_what_was_only_reserved_or_is_older_is_no_loss(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(3)])
        name = store.journal_id
        assert store.numbers == RecalledNumbers(name, store.numbers.given, stored=True)
        assert store.numbers.given[Stream.ALARM] == 3
    async with journal(tmp_path) as store:
        assert store.judged(RecalledNumbers(name, {Stream.ALARM: 3}, stored=True)) is None
        assert store.judged(RecalledNumbers(name, {Stream.ALARM: 3}, stored=False)) is not None
        assert store.judged(RecalledNumbers("unknown", {Stream.ALARM: 1}, stored=True)) is not None


# ---- the uplink -----------------------------------------------------------------------------------


class RawBroker:
    """A broker of a few lines, in MQTT 3.1.1: notes the packets, and answers a SUBSCRIBE as `answer` says."""

    def __init__(self, answer: str, kept: bytes = b"kept") -> None:
        self.answer = answer
        self.kept = kept
        self.packets: list[tuple[int, bytes]] = []
        self.connections = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                first = (await reader.readexactly(1))[0]
                size = shift = 0
                while True:
                    byte = (await reader.readexactly(1))[0]
                    size |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                body = await reader.readexactly(size)
                self.packets.append((first >> 4, body))
                if not self._reply(first, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _reply(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        if first >> 4 == 1:
            writer.write(b"\x20\x02\x00\x00")
        elif first >> 4 == 3:
            length = body[0] << 8 | body[1]
            writer.write(b"\x40\x02" + body[2 + length : 4 + length])
        elif first >> 4 == 8:
            active = b"/alarm/active" in body
            if not active or self.answer in ("granted", "retained"):
                writer.write(b"\x90\x03" + body[:2] + b"\x00")
            if active and self.answer == "retained":
                topic = f"{ROOT}/alarm/active".encode()
                packet = len(topic).to_bytes(2, "big") + topic + self.kept
                writer.write(b"\x31" + bytes((len(packet),)) + packet)
            if active and self.answer == "refused":
                writer.write(b"\x90\x03" + body[:2] + b"\x80")
            return not (active and self.answer == "hangs up")
        return True

    def kinds(self) -> list[str]:
        """CONNECT left out: what was subscribed and published, in order."""
        return [
            {8: "subscribe ", 3: "publish "}[kind] + _topic(body[2:] if kind == 8 else body)
            for kind, body in self.packets
            if kind in (3, 8)
        ]


def _topic(body: bytes) -> str:
    return body[2 : 2 + (body[0] << 8 | body[1])].decode().removeprefix(f"{ROOT}/")


@dataclass
class Judge:
    """Sees what was recalled, and gives back what holds up the sending."""

    under_way: asyncio.Future[None] | None = None
    seen: list[bytes | None] = field(default_factory=list)

    def recalled(self, payload: bytes | None) -> asyncio.Future[None] | None:
        self.seen.append(payload)
        return self.under_way


@asynccontextmanager
async def uplink(port: int, judge: Judge) -> AsyncIterator[Uplink]:
    run = an_uplink(settings(port, protocol=4), MemoryOutbox(), recall=judge)
    run.set_standing({}, 0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run.run(), name="uplink")
        try:
            yield run
        finally:
            task.cancel()


@pytest.mark.parametrize("answer", ["retained", "granted", "refused", "silent", "hangs up"])
async def test_it_is_read_first_and_holds_up_nothing_for_long(answer: str) -> None:
    broker, judge = RawBroker(answer), Judge()
    async with broker.running(), uplink(broker.port, judge):
        took = await eventually(lambda: "publish status" in broker.kinds(), 5.0)
        kinds = broker.kinds()
    assert kinds[0] == "subscribe alarm/active"
    assert kinds.index("publish alarm/active") < kinds.index("publish status")
    assert "subscribe command" in kinds
    assert kinds.count("subscribe alarm/active") == 1, "a broker that hangs up is not asked again"
    assert judge.seen == ([] if answer == "hangs up" else [b"kept" if answer == "retained" else None])
    assert took < (3.0 if answer == "hangs up" else 2.0)


async def test_nothing_is_sent_until_it_has_been_seen_to() -> None:
    broker, judge = RawBroker("retained"), Judge(asyncio.get_running_loop().create_future())
    async with broker.running(), uplink(broker.port, judge):
        await eventually(lambda: judge.seen and "subscribe command" in broker.kinds())
        await eventually(lambda: broker.packets[-1][0] == 8)
        assert not [kind for kind in broker.kinds() if kind.startswith("publish")]
        assert judge.under_way is not None
        judge.under_way.set_result(None)
        await eventually(lambda: "publish alarm/active" in broker.kinds())
