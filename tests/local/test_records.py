"""What is kept, read back from a real journal."""

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.local.records import MOST_ROWS, CsvTable, Records, Wrong
from gateway.masks import shown
from gateway.model import Emit, Instant, Json, Stream


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    keep = dict.fromkeys(Stream, 1e9)
    clock = Clock()
    async with Journal(
        tmp_path, source="/x", now=clock.now, keep=keep, max_size=64 << 20, alarm_reserve=1 << 20, simulated=False
    ) as one:
        yield one


def event(stream: Stream, kind: str, number: int, data: dict[str, Json], at: Instant) -> Emit:
    return Emit(stream, kind, f"s{number}", data, f"0199aaaa-0000-7000-8000-{number:012d}", at)


async def kept(journal: Journal, events: list[Emit]) -> Records:
    done = []
    journal.append(events, then=lambda: done.append(True))
    records = Records(journal.history, Clock(mono=lambda: 0.0))
    while not done:
        await records.events(Stream.ALARM, None, 1)
    return records


async def test_pieces_follow_without_gap_and_end(journal: Journal) -> None:
    now = Clock().now()
    records = await kept(
        journal, [event(Stream.ALARM, "alarm.raised", n, {"alarm": f"a{n % 3}"}, now) for n in range(25)]
    )
    seen: list[str] = []
    place = None
    for _ in range(5):
        page = await records.events(Stream.ALARM, place, 10)
        seen += [str(one["subject"]) for one in page.events]
        place = page.next
        if place is None:
            break
    assert seen == [f"s{n}" for n in reversed(range(25))]
    assert [one["subject"] for one in (await records.events(Stream.ALARM, alarm="a1")).events] == [
        f"s{n}" for n in reversed(range(25)) if n % 3 == 1
    ]


async def test_a_page_of_large_runs_does_not_hold_the_loop(journal: Journal) -> None:
    item = {"item": "point:hydrant-1.pressure", "outcome": "normal", "rule": "between 0.1 and 0.6", "text": "0x015e"}
    figures = {f"f{number}": "between 0.1 and 0.6 MPa, 2026-12-01 02:00" for number in range(12)}
    data: dict[str, Json] = {"run": "r", "items": [{**item, "figures": figures}] * 200}
    now = Clock().now()
    records = await kept(journal, [event(Stream.INSPECTION, "inspection.finished", n, data, now) for n in range(20)])
    begun = time.perf_counter()
    for _ in range(20):
        shown(data)
    whole = time.perf_counter() - begun

    longest = 0.0
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(records.runs(None, 20), name="runs")
        while not asked.done():
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - begun)
    assert len(asked.result().events) == 20
    assert longest < whole / 3


@pytest.mark.parametrize("place", ["", "x", "1", "1-x", "-1-2", "1-2-3", "٣-1", "9" * 50 + "-1"])
async def test_a_place_that_is_none_is_refused(journal: Journal, place: str) -> None:
    with pytest.raises(Wrong):
        await Records(journal.history, Clock(mono=lambda: 0.0)).events(Stream.ALARM, place)


async def test_plates_are_masked_but_where_passages_are_asked_for(journal: Journal) -> None:
    now = Clock().now()
    data: dict[str, Json] = {
        "passage": "p1",
        "plate": "沪A12345",
        "plate_raw": "沪A12345",
        "camera": "cam",
        "late": None,
    }
    gate: dict[str, Json] = {"gate": "north", "passage": "p1"}
    events = [event(Stream.ACCESS, "access.denied", 1, data, now), event(Stream.ACCESS, "gate.opened", 2, gate, now)]
    records = await kept(journal, events)

    assert "沪A12345" not in str((await records.events(Stream.ACCESS)).events)
    (passage,) = (await records.passages()).events
    assert (passage["id"], passage["plate"], "late" in passage) == ("p1", "沪A12345", False)
    assert [one["id"] for one in (await records.passages(id_="p1")).events] == ["p1"]
    assert (await records.passages(id_="p2")).events == []


async def test_the_audit_is_narrowed_by_who_and_what(journal: Journal) -> None:
    now = Clock().now()
    asked = [("zhang", "gate.open"), ("li", "gate.open"), ("zhang", "read")] * 3
    records = await kept(
        journal,
        [event(Stream.AUDIT, "command.done", n, {"sub": who, "cmd": cmd}, now) for n, (who, cmd) in enumerate(asked)],
    )

    assert len((await records.audit(by="zhang")).events) == 6
    assert len((await records.audit(by="zhang", cmd="read")).events) == 3
    assert len((await records.audit(cmd="gate.open")).events) == 6
    assert (await records.audit(by="wang")).events == []


def rows_of(table: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(table.decode("utf-8-sig"), newline="")))


async def test_the_table_of_the_audit_goes_to_its_end_or_says_that_it_does_not(journal: Journal) -> None:
    now = Clock().now()
    args: Json = {}
    count = MOST_ROWS + 1
    events = [
        event(Stream.AUDIT, "command.done", n, {"sub": "li" if n < 450 else "wang", "cmd": f"c{n}", "args": args}, now)
        for n in range(count)
    ]
    records = await kept(journal, events)

    whole = rows_of(await records.audit_table(by="li"))
    assert [row[4] for row in whole[1:]] == [f"c{n}" for n in reversed(range(450))]
    cut = rows_of(await records.audit_table())
    assert [row[4] for row in cut[1:-1]] == [f"c{n}" for n in reversed(range(1, count))]
    assert cut[-1][0].startswith("older records are kept")
    few = rows_of(await records.audit_table(rows=3))
    assert (len(few), few[-1][0]) == (5, cut[-1][0])


def test_no_cell_is_calculated() -> None:
    data = {"sub": "=1+1", "account": "@x", "cmd": "+x", "ok": False, "error": {"code": "-x", "message": '\t=x\n\r,"'}}
    table = CsvTable()
    table.add({"time": "2026", "type": "command.refused", "data": {**data, "args": {"note": "=HYPERLINK(1)"}}})
    rows = rows_of(table.encoded())

    assert rows[0][:3] == ["time", "type", "by"]
    assert rows[1][2:8] == ["'=1+1", "'@x", "'+x", "false", "'-x", "'\t=x\n\r,\""]
    assert len(rows) == 2
