"""Kept records for logged-in users: events, passages, pictures, the audit, a point's values. Read from the journal.

Newest first, in pieces; `before` and `next` are places in a stream, opaque outside this module. Each query searches a
limited number of events.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from gateway.clock import Clock
from gateway.cloud.events import wall_of
from gateway.cloud.journal.history import History
from gateway.cloud.journal.kept_events import Past
from gateway.errors import GatewayError
from gateway.masks import shown
from gateway.model import Json, Stream

MOST_EVENTS = 200
MOST_PASSAGES = 50
MOST_RUNS = 20
MOST_VALUES = 2000
MOST_ROWS = 20_000
"""The most rows of a table."""
_TABLE_PIECES = MOST_ROWS // MOST_EVENTS
_PIECE = 250
_LOOKED_AT = 2000
"""Events that are searched for one occurrence, passage or query of the audit."""
_PICTURES_LOOKED_AT = 20_000
_TELEMETRY_LOOKED_AT = 20_000
_SEARCH_S = 1.0
_KEPT = ("id", "subject", "time", "clock", "simulated", "test")
_COLUMNS = ("time", "type", "by", "account", "cmd", "ok", "code", "message", "args")
_MORE = "older records are kept but not in this table / 更早的记录未列入本表"
_CALCULATED = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins with one of these as a formula."""


class Wrong(GatewayError):
    """An invalid query."""


class Results(NamedTuple):
    """A piece of a stream, newest first."""

    events: list[dict[str, Any]]
    next: str | None
    """Where the next piece begins; None: there are no more."""


class Records:
    """Queries of the journal for logged-in users."""

    def __init__(self, kept: History, clock: Clock) -> None:
        self._kept = kept
        self._clock = clock

    async def events(
        self, stream: Stream, before: str | None = None, limit: int = MOST_EVENTS, *, alarm: str | None = None
    ) -> Results:
        """Events of a stream, with masked plates. `alarm`: only of this occurrence. Raises Wrong, StoreError."""
        page = await self._page(stream, before, limit, b"" if alarm is None else orjson.dumps(alarm))
        return await _masked(page)

    async def passages(
        self, before: str | None = None, limit: int = MOST_PASSAGES, *, id_: str | None = None
    ) -> Results:
        """Data of passages, with their plates. Raises Wrong, StoreError."""
        needle = b'"camera":' if id_ is None else b'"passage":' + orjson.dumps(id_)
        page = await self._page(Stream.ACCESS, before, 1 if id_ is not None else limit, needle, _is_passage)
        told: list[dict[str, Any]] = [
            {"id": event["data"]["passage"], "time": event["time"]}
            | {key: value for key, value in event["data"].items() if value is not None}
            for event in page.events
        ]
        return Results(told, None if id_ is not None else page.next)

    async def runs(self, before: str | None = None, limit: int = MOST_RUNS) -> Results:
        """Runs of rounds that have ended or were missed. Raises Wrong, StoreError."""
        page = await self._page(Stream.INSPECTION, before, limit, b'"items":')
        return await _masked(page)

    async def audit(
        self, before: str | None = None, limit: int = MOST_EVENTS, *, by: str | None = None, cmd: str | None = None
    ) -> Results:
        """Audit events, filtered. Raises Wrong, StoreError."""

        def fits(event: Mapping[str, Any]) -> bool:
            data = event["data"]
            asker = data.get("sub", data.get("by"))
            return (by is None or asker == by) and (cmd is None or data.get("cmd") == cmd)

        needle = b"" if by is None and cmd is None else orjson.dumps(by if by is not None else cmd)
        page = await self._page(Stream.AUDIT, before, limit, needle, fits)
        return await _masked(page)

    async def audit_table(
        self, before: str | None = None, rows: int = MOST_ROWS, *, by: str | None = None, cmd: str | None = None
    ) -> bytes:
        """The filtered audit as CSV; its last line says if there is more. Raises Wrong, StoreError."""
        table, left = CsvTable(), rows
        for _ in range(_TABLE_PIECES):
            page = await self.audit(before, min(left, MOST_EVENTS), by=by, cmd=cmd)
            for event in page.events:
                table.add(event)
            left -= len(page.events)
            before = page.next
            if before is None or left == 0:
                break
        if before is not None:
            table.cut()
        return table.encoded()

    async def picture(self, id_: str) -> tuple[bytes, str | None] | None:
        """The bytes of a picture, and its passage; None: it is not kept. Raises StoreError."""
        async for past in self._walk(Stream.PICTURE, None, b'"id":' + orjson.dumps(id_), _PICTURES_LOOKED_AT):
            if past.payload is not None:
                event = orjson.loads(past.payload)
                passage = event.get("passage")
                return await self._kept.jpeg(past.n), None if passage is None else str(passage)
        return None

    async def values(self, device: str, point: str, since: float) -> dict[str, Json]:
        """The kept telemetry of a point from wall time `since` on, oldest first. Raises StoreError."""
        until = self._clock.now().mono + _SEARCH_S
        found: list[tuple[float, Json]] = []
        unit, more = None, True
        needle = b'"device":' + orjson.dumps(device)
        looked = 0
        async for past in self._walk(Stream.TELEMETRY, None, needle, _TELEMETRY_LOOKED_AT):
            looked += 1
            if past.payload is None:
                continue
            event = orjson.loads(past.payload)
            if wall_of(event["time"]) < since:
                more = False
                break
            reading = event["data"]["readings"].get(point)
            if reading is not None:
                found.append((wall_of(reading["at"]), _number(reading["value"])))
                unit = unit or reading["unit"]
            if len(found) >= MOST_VALUES or self._clock.now().mono >= until:
                break
        else:
            more = looked >= _TELEMETRY_LOOKED_AT
        found.sort(key=lambda one: one[0])
        told: dict[str, Json] = {"times": [at for at, _ in found], "values": [value for _, value in found]}
        return told | ({} if unit is None else {"unit": unit}) | ({"more": True} if more else {})

    async def _page(
        self,
        stream: Stream,
        before: str | None,
        limit: int,
        needle: bytes,
        fits: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    ) -> Results:
        events: list[dict[str, Any]] = []
        last, looked = None, 0
        async for past in self._walk(stream, _place(before), needle, max(_LOOKED_AT, limit)):
            if len(events) == limit:
                return Results(events, last)
            last, looked = f"{past.epoch}-{past.sequence}", looked + 1
            if past.payload is None:
                continue
            event = orjson.loads(past.payload)
            if isinstance(event.get("data"), dict) and fits(event):
                events.append(_told(event))
        return Results(events, last if looked >= max(_LOOKED_AT, limit) else None)

    async def _walk(
        self, stream: Stream, before: tuple[int, int] | None, needle: bytes, most: int
    ) -> AsyncIterator[Past]:
        """Walk back from a place, `most` events at most; events without `needle` come without payload."""
        left = most
        while left > 0:
            piece = [*await self._kept.back(stream, before, min(_PIECE, left), needle)]
            for past in piece:
                yield past
            if len(piece) < min(_PIECE, left):
                return
            left -= len(piece)
            before = (piece[-1].epoch, piece[-1].sequence)
            await asyncio.sleep(0)


async def _masked(page: Results) -> Results:
    """Mask plates, in a thread, because a page of runs with hundreds of items each takes tenths of a second."""
    told = await asyncio.to_thread(lambda: [{**event, "data": shown(event["data"])} for event in page.events])
    return Results(told, page.next)


class CsvTable:
    """The audit for spreadsheets: UTF-8 with a byte order mark, without cells that would be formulas."""

    def __init__(self) -> None:
        self._text = io.StringIO("\ufeff")
        self._text.seek(0, io.SEEK_END)
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(_COLUMNS)

    def add(self, event: Mapping[str, Any]) -> None:
        """Add a row."""
        data = event["data"]
        error = data.get("error") or {}
        args = data.get("args")
        who = (data.get("sub", data.get("by")), data.get("account"))
        end = (data.get("ok"), error.get("code"), error.get("message"))
        shown_args = None if args is None else orjson.dumps(args).decode()
        row = (event.get("time"), event["type"], *who, data.get("cmd"), *end, shown_args)
        self._writer.writerow([_cell(value) for value in row])

    def cut(self) -> None:
        """Add the last line, which says that there is more."""
        self._writer.writerow([_MORE])

    def encoded(self) -> bytes:
        """The whole table as bytes."""
        return self._text.getvalue().encode()


def _cell(value: object) -> str:
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}" if text.startswith(_CALCULATED) else text


def _place(before: str | None) -> tuple[int, int] | None:
    if before is None:
        return None
    epoch, _, sequence = before.partition("-")
    if not (before.isascii() and epoch.isdigit() and sequence.isdigit() and len(before) <= 40):
        raise Wrong("before: as `next` said")
    return min(int(epoch), 2**62), min(int(sequence), 2**62)


def _told(event: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(event["type"]).removeprefix("sitegateway.").removesuffix(".v1")
    return {**{key: event[key] for key in _KEPT if key in event}, "type": kind, "data": event["data"]}


def _is_passage(event: Mapping[str, Any]) -> bool:
    return isinstance(event["data"].get("passage"), str) and "plate_raw" in event["data"]


def _number(value: object) -> float | int | None:
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, int | float) else None
