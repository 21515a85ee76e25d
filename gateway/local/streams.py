"""The streams of all viewers: news is encoded and framed once and sent to all.

Alarms, gates and passages are sent at once, readings at most four times a second, a heartbeat every five seconds.
Without viewers nothing is computed. A viewer that is up to date gets news directly; only one that is behind uses its
own task. 32 streams, 8 per address; if there is no room, a logged-in person takes the place of the newest stream of
somebody who is not logged in (from the same address, if that has 8).
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.clock import Clock
from gateway.local.feed import Feed, PageEvent, Tree, gzip_head
from gateway.local.http import framed
from gateway.local.sessions import PageSession
from gateway.local.state import SiteView
from gateway.model import Json, Reading

MOST = 32
OF_ONE = 8
BEAT_S = 5.0
STALE_S = 15.0
"""A command based on an older heartbeat moves nothing."""
_READINGS_S = 0.25
_HEALTH_S = 2.0
_PACE_S = 0.02
"""Time between two checks for what is sent at once."""
_RETRY = b"retry: 1000\n\n"


class Sources(Protocol):
    """The state of the site for viewers."""

    def standing(self) -> Mapping[str, Mapping[str, Json]]:
        """The alarms by subject, each replaced when it changes."""
        ...

    def gates(self) -> Mapping[str, Json]:
        """Gate -> its state."""
        ...

    def readings(self) -> Mapping[str, Mapping[str, Reading]]:
        """Device -> its points' last readings, each replaced when it changes."""
        ...

    def health(self) -> Mapping[str, Json]:
        """The data of `gateway.health`; whether all is well, and the site file in force."""
        ...

    def under_test(self) -> Mapping[str, str]:
        """Tested zone (`site`: devices without a zone) -> when its test ends."""
        ...

    def rounds(self) -> Mapping[str, Json]:
        """The runs under way and the open findings."""
        ...


@dataclass(eq=False, slots=True)
class Viewer:
    """The stream of one viewer."""

    address: str
    session: PageSession | None
    behind: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is news that could not be sent to it directly."""
    closed: bool = False
    out: "Out | None" = None
    """Set while it is up to date: news goes there directly."""
    packed: bool = False
    number: int | None = None
    """The number of the state that it has."""
    beat: PageEvent | None = None
    """The last heartbeat that it got."""

    def close(self) -> None:
        """End it with its next turn."""
        self.closed = True
        self.out = None
        self.behind.set()


class Out(Protocol):
    """The output of a stream."""

    async def send(self, data: bytes) -> None:
        """Send all of it and wait until it is taken. Raises Gone."""
        ...

    def offer(self, piece: bytes) -> bool:
        """Send one framed piece if everything before was taken."""
        ...


class StateSnapshot(NamedTuple):
    """The content of `GET /state`."""

    n: str
    seen: str
    time: str
    state: Tree


class Streams:
    """All streams. `state` builds the tree from `sources`."""

    def __init__(self, state: SiteView, sources: Sources, clock: Clock) -> None:
        self._state = state
        self._sources = sources
        self._clock = clock
        self._feed = Feed(os.urandom(4).hex())
        self._feed.update(state.fixed())
        self._born = clock.now().mono
        self._readers: list[Viewer] = []
        """Viewers, newest last."""
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()
        self._beat: PageEvent | None = None
        self._answering: Mapping[str, bool | None] = {}
        """By device, as health last told it."""
        self._health_at = float("-inf")
        self._box_at = float("-inf")
        self._readings_at = float("-inf")
        self._looked_at = float("-inf")

    def __len__(self) -> int:
        return len(self._readers)

    def news(self) -> None:
        """Note that something is new that is sent at once."""
        self._news.set()

    def passed(self, passage: Mapping[str, Json]) -> None:
        """Take a decided passage: data of `access.passage` or `access.denied`, once stored."""
        self._state.passed([passage])
        self._news.set()

    # ---- one look -----------------------------------------------------------------------------------

    def snapshot(self) -> StateSnapshot:
        """The present state."""
        self._look_again()
        return StateSnapshot(self._feed.id, self.seen, self._clock.now().rfc3339(), self._feed.tree)

    @property
    def seen(self) -> str:
        """Identifies this moment, for commands based on what is seen now."""
        return f"{self._feed.life}-{int((self._clock.now().mono - self._born) / BEAT_S)}"

    def is_stale(self, seen: object) -> bool:
        """True if a viewer with this `seen` is out of date."""
        life, _, beat = seen.rpartition("-") if isinstance(seen, str) else ("", "", "")
        if life != self._feed.life or not (beat.isascii() and beat.isdigit() and len(beat) <= 12):
            return True
        age = self._clock.now().mono - self._born - int(beat) * BEAT_S
        return not -BEAT_S <= age <= STALE_S

    # ---- everybody ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send news until cancelled. However much there is, no heartbeat is left out."""
        beaten = 0
        while True:
            if not self._readers:
                self._feed.forget()
                self._wanted.clear()
                await self._wanted.wait()
            beat_due = self._born + (beaten + 1) * BEAT_S
            wait = min(self._readings_at + _READINGS_S, beat_due) - self._clock.now().mono
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait)):
                    await self._news.wait()
            beats = self._clock.now().mono >= beat_due
            if beats:
                beaten = int((self._clock.now().mono - self._born) / BEAT_S)
                self._beat = self._beat_now()
            if self._look() or beats:
                self._tell()
            await asyncio.sleep(_PACE_S)

    def _beat_now(self) -> PageEvent:
        return PageEvent("beat", {"time": self._clock.now().rfc3339(), "seen": self.seen, "n": self._feed.id})

    def _tell(self) -> None:
        """Send news to viewers that are up to date; wake the others."""
        pieces: dict[tuple[int | None, bool, bool], bytes] = {}
        for reader in self._readers:
            if reader.out is None:
                continue
            kind = (reader.number, reader.packed, reader.beat is not self._beat)
            if (piece := pieces.get(kind)) is None:
                told = _bytes(self._news_of(reader), packed=reader.packed)
                piece = pieces[kind] = framed(told) if told else b""
            if not piece:
                continue
            if reader.out.offer(piece):
                reader.number, reader.beat = self._feed.number, self._beat
            else:
                reader.out = None
                reader.behind.set()

    def _news_of(self, reader: Viewer) -> list[PageEvent]:
        frames = self._feed.after(reader.number)
        return frames if self._beat is None or reader.beat is self._beat else [*frames, self._beat]

    def _look_again(self) -> None:
        """Check for a new viewer, at most four times a second."""
        if self._clock.now().mono - self._looked_at >= _READINGS_S and self._look():
            self._tell()

    def _look(self) -> bool:
        """Update the feed; True if anything is new."""
        self._news.clear()
        self._looked_at = self._clock.now().mono
        state, sources, now = self._state, self._sources, self._clock.now().mono
        parts: Tree = {
            "alarms": state.alarms(sources.standing()),
            "gates": state.gates(sources.gates()),
            "passages": state.passages(),
            **state.zones(sources.under_test()),
        }
        patches: dict[str, Tree] = {}
        if now - self._readings_at >= _READINGS_S:
            self._readings_at = now
            if now - self._health_at >= _HEALTH_S:
                self._health_at = now
                parts |= self._of_health(sources.health(), now)
            parts["devices"], patches["devices"] = state.devices(sources.readings(), self._answering)
            parts |= state.rounds(sources.rounds())
        return self._feed.update(parts, patches)

    def _of_health(self, health: Mapping[str, Json], now: float) -> Tree:
        state = self._state
        devices, lines = health["devices"], health["lines"]
        if isinstance(devices, Mapping):
            answers = {name: one["answering"] for name, one in devices.items() if isinstance(one, Mapping)}
            self._answering = {name: one if isinstance(one, bool) else None for name, one in answers.items()}
        told = lines.items() if isinstance(lines, Mapping) else ()
        parts: Tree = {
            "lines": state.lines({name: line for name, line in told if isinstance(line, Mapping)}),
            "cameras": state.cameras(health.get("cameras")),
        }
        if now - self._box_at >= BEAT_S:
            self._box_at = now
            parts["box"] = state.box(health)
        return parts

    # ---- one reader ---------------------------------------------------------------------------------

    def join(self, address: str, session: PageSession | None) -> Viewer | None:
        """Get a place for a stream; None: there is none."""
        here = [one for one in self._readers if one.address == address]
        full = here if len(here) >= OF_ONE else self._readers if len(self._readers) >= MOST else None
        if full is not None:
            nobody = [one for one in full if one.session is None]
            if session is None or not nobody:
                return None
            self.leave(nobody[-1])
        reader = Viewer(address, session)
        self._readers.append(reader)
        self._wanted.set()
        return reader

    def leave(self, reader: Viewer) -> None:
        """Free its place."""
        reader.close()
        if reader in self._readers:
            self._readers.remove(reader)

    def end(self, session: PageSession) -> None:
        """End the streams of an ended session."""
        for reader in [one for one in self._readers if one.session is session]:
            self.leave(reader)

    async def serve(self, reader: Viewer, last: str | None, out: Out, *, packed: bool) -> None:
        """Send news to a viewer, after the number `last`, until it is closed. Raises Gone."""
        try:
            self._look_again()
            reader.number, reader.packed, reader.beat = self._feed.number_of(last), packed, self._beat
            await out.send((gzip_head() if packed else b"") + _bytes([_Retry(), self._beat_now()], packed=packed))
            while not reader.closed:
                frames = self._news_of(reader)
                reader.number, reader.beat = self._feed.number, self._beat
                if frames:
                    await out.send(_bytes(frames, packed=packed))
                    continue
                reader.behind.clear()
                reader.out = out
                await reader.behind.wait()
        finally:
            self.leave(reader)


class _Retry(PageEvent):
    """Tells the browser when to reconnect."""

    def __init__(self) -> None:
        self.text = _RETRY


def _bytes(frames: list[PageEvent], *, packed: bool) -> bytes:
    return b"".join(frame.deflated if packed else frame.text for frame in frames)
