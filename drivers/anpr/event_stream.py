"""Reads the endless event stream of a camera, and the records that it kept while we were not connected.

A wrong login is tried twice and not again until the secret changes, because cameras lock after repeated failures.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

from drivers.anpr import dahua, hikvision
from drivers.anpr.camera_lookup import MOST_PASSAGES, Camera, push_of
from drivers.anpr.camera_stats import Last, Tally
from drivers.anpr.capture import CameraSettings, Capture, Report, Unreadable
from drivers.anpr.joining import JOIN_WITHIN_S, Joiner, Read
from drivers.anpr.multipart import FormPart, boundary_of
from drivers.anpr.part_sorting import is_picture
from drivers.anpr.stream import PartStream
from gateway.backoff import BackOff
from gateway.clock import Clock
from gateway.driver import PushTaker
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent

_log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
_SHORTEST_RETRY_S = 0.2
_PASSWORD_LOOK_EVERY_S = 30.0
"""The interval of checks whether a refused password has been changed."""
_ANSWER_WITHIN_S = 15.0
_QUERY_WITHIN_S = 15.0
_MAX_QUERY_BYTES = 1 << 20
_STEPS = 32
"""Steps through a stream per turn of the loop: two for each part."""
_PAUSE_FACTOR = 3.0
"""After parsing, reading pauses for this multiple of the time that parsing took."""
_LONGEST_PAUSE_S = 0.25
_NOT_HERE = frozenset({400, 404, 405, 501})


class StreamAnswer(Protocol):
    """The camera's answer, piece by piece."""

    content_type: str

    async def read(self) -> bytes:
        """The next received bytes; empty at the end. Raises DeviceSilent."""
        ...


class StreamAccount(Protocol):
    """The camera's HTTP account."""

    @property
    def locked(self) -> bool:
        """True if the camera refused the login, which is then not tried again."""
        ...

    def ask(self, target: str, *, method: str = "GET", body: bytes = b"") -> AbstractAsyncContextManager[StreamAnswer]:
        """Send a request. Raises DeviceSilent, DeviceRefused, ConfigError."""
        ...


@dataclass(frozen=True, slots=True)
class StreamSource:
    """A maker's event stream. `silence`: seconds without data after which the connection counts as dead."""

    targets: tuple[str, ...]
    """The first one that the camera knows is used; `{channel}` is the entry's channel."""
    read: Read
    silence: float
    keeps: bool
    """It can be asked for events that were missed."""


_MAX_TEXT_BYTES = 256 << 10
"""The largest part other than a picture, bytes."""
_AT_ONCE_BYTES = 64 << 10
"""Texts up to this size are parsed in the loop; larger ones in a thread."""

SOURCES: Mapping[str, StreamSource] = {
    "hikvision": StreamSource((hikvision.ALERT_STREAM,), hikvision.part, 45.0, keeps=True),
    "dahua": StreamSource((dahua.SNAP_MANAGER, dahua.EVENT_MANAGER), dahua.part, 20.0, keeps=False),
}
"""By the `driver` of the site file."""


class Puller:
    """Listens to one camera until cancelled. Raises ConfigError for a maker without an event stream."""

    def __init__(
        self,
        camera: Camera,
        account: StreamAccount,
        taker: PushTaker,
        clock: Clock,
        *,
        rng: random.Random,
    ) -> None:
        source = SOURCES.get(camera.driver)
        if source is None:
            raise ConfigError(f"camera {camera.id}: mode pull is for {', '.join(SOURCES)}, not for {camera.driver}")
        self._camera = camera
        self._account = account
        self._taker = taker
        self._clock = clock
        self._back_off = BackOff(FIRST_RETRY_S, LONGEST_RETRY_S, rng, least_s=_SHORTEST_RETRY_S)
        self._source = source
        self._target = 0
        self._tally = Tally()
        self._is_up: bool | None = None
        self._newest: float | None = None
        """The camera's time of its newest capture, wall seconds."""

    def snapshot(self) -> Mapping[str, Mapping[str, int | float | str | bool | None]]:
        """The counts for health."""
        told = self._tally.told(self._clock.now().wall)
        return {self._camera.id: {**told, "reachable": self._is_up, "locked": self._account.locked}}

    def unreadable(self, camera: str) -> Last | None:
        """The last unreadable part of this camera's stream."""
        return self._tally.unreadable if camera == self._camera.id else None

    def forget(self) -> None:
        """Drop the unreadable part, because it may contain any plate."""
        self._tally.forget()

    async def run(self) -> None:
        """Listen until cancelled; retries an absent camera, but not one that refused the login."""
        async with asyncio.TaskGroup() as group:
            while True:
                why = await self._once(group)
                if self._account.locked:
                    self._went_down("refused the login; not tried again with this password")
                    await asyncio.sleep(_PASSWORD_LOOK_EVERY_S)
                    continue  # nothing is sent while it is locked
                if why is None:
                    continue
                self._went_down(why)
                await asyncio.sleep(self._back_off.next())

    async def _once(self, group: asyncio.TaskGroup) -> str | None:
        """Use one connection until it ends; returns why it ended, or None: try another target at once."""
        try:
            await self._listen(group)
        except DeviceRefused as no:
            if no.code in _NOT_HERE and self._target + 1 < len(self._source.targets):
                self._target += 1
                return None
            return str(no)
        except (DeviceSilent, ConfigError, Unreadable) as error:
            return str(error)
        except TimeoutError:
            return "no answer in time"
        return "the camera ended the stream"

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        target = self._of_mine(self._source.targets[self._target])
        async with asyncio.timeout(_ANSWER_WITHIN_S) as patience, self._account.ask(target) as answer:
            patience.reschedule(None)
            if self._is_up is not True:
                self._is_up = True
                self._taker.tell(self._camera.id, True, "")
            if self._source.keeps and self._newest is not None:
                group.create_task(self._catch_up(self._newest), name="catch up")
            stream = PartStream(boundary_of(answer.content_type))
            joiner = Joiner(self._read_mine, self._camera.settings)
            try:
                await self._parts(answer, stream, joiner)
            except (DeviceSilent, Unreadable):
                await self._hand_over(joiner.flush())
                raise
            await self._hand_over(joiner.flush())

    async def _parts(self, answer: StreamAnswer, stream: PartStream, joiner: Joiner) -> None:
        while True:
            try:
                async with asyncio.timeout(JOIN_WITHIN_S if joiner.is_waiting else self._source.silence):
                    data = await answer.read()
            except TimeoutError as error:
                if not joiner.is_waiting:
                    raise DeviceSilent(f"no word for {self._source.silence:.0f} s") from error
                await self._hand_over(joiner.flush())
                continue
            if not data:
                return
            await self._understand(stream, joiner, data)

    async def _understand(self, stream: PartStream, joiner: Joiner, data: bytes) -> None:
        """Parse received bytes, a few parts per turn of the loop, then pause.

        So a flood takes at most a quarter of the time. Meanwhile nothing is read, so the camera waits.
        """
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            parts = stream.feed(data, _STEPS)
            done = [await self._understood(joiner, part) for part in parts]
            took = loop.time() - begun
            for captures in done:
                self._back_off.reset()
                await self._hand_over(captures)
            await asyncio.sleep(min(_PAUSE_FACTOR * took, _LONGEST_PAUSE_S))
            if not stream.has_more:
                return
            data = b""

    async def _understood(self, joiner: Joiner, part: FormPart) -> tuple[Capture, ...]:
        """The captures that are complete with this part."""
        try:
            if len(part.body) > _AT_ONCE_BYTES and not is_picture(part):
                report, done = await asyncio.to_thread(joiner.take, part)
            else:
                report, done = joiner.take(part)
        except Unreadable as error:
            self._tally.unread(str(error), self._clock.now().wall, part.body, "", part.content_type)
            self._tally.say(self._camera.id, self._taker)
            return ()
        except Exception:  # noqa: BLE001 - a bug with one part must not affect the next
            self._tally.unread("error of our own", self._clock.now().wall, part.body, "", part.content_type)
            self._tally.counts["bugs"] += 1
            if self._tally.counts["bugs"] == 1:
                _log.exception("error of our own in a part of %s", self._camera.id)
            return ()
        self._tally.heard(replace(report, captures=()), self._clock.now().wall)
        self._tally.say(self._camera.id, self._taker)
        self._tally.counts["cut"] += max(0, len(done) - MOST_PASSAGES)
        return done[:MOST_PASSAGES]

    def _read_mine(self, part: FormPart, settings: CameraSettings) -> Report:
        """The content of a part for this camera; for a recorder without a channel in the file, of the first channel."""
        if len(part.body) > _MAX_TEXT_BYTES and not is_picture(part):
            raise Unreadable("a text over the limit")
        report = self._source.read(part, settings)
        mine = self._camera.channel
        cars = tuple(one for one in report.captures if one.is_of(mine))
        if report.captures and not cars:
            return Report("other", events=("another channel",))
        return replace(report, captures=cars)

    async def _hand_over(self, captures: tuple[Capture, ...]) -> None:
        for capture in captures:
            seen = capture.seen
            if seen is not None and seen.firm:
                self._newest = max(self._newest or 0.0, seen.wall)
            self._tally.counts["passages"] += 1
            await self._taker.take(push_of(self._camera, capture, self._clock.now()))

    async def _catch_up(self, since: float) -> None:
        """Ask for what the camera saw after `since`; the results are late records, which open nothing."""
        try:
            async with asyncio.timeout(_QUERY_WITHIN_S):
                found = await self._kept(since)
        except (DeviceRefused, DeviceSilent, ConfigError, Unreadable, TimeoutError):
            self._tally.refused("catch_up")
            return
        for capture in found:
            self._tally.counts["passages"] += 1
            await self._taker.take(push_of(self._camera, capture, self._clock.now()))

    async def _kept(self, since: float) -> list[Capture]:
        """The camera's records after a time, oldest first."""
        body = hikvision.query(_written(since, self._camera.settings.utc_offset))
        payload = bytearray()
        target = self._of_mine(hikvision.PLATES)
        async with self._account.ask(target, method="POST", body=body) as answer:
            while data := await answer.read():
                payload += data
                if len(payload) > _MAX_QUERY_BYTES:
                    raise Unreadable("too many records")
        settings = self._camera.settings
        report = await asyncio.to_thread(hikvision.parse, bytes(payload), "application/xml", target, settings)
        self._tally.counts["cut"] += report.cut
        later = [one for one in report.captures if one.seen is not None and one.seen.wall > since]
        return sorted(later, key=lambda one: one.seen.wall if one.seen is not None else 0.0)

    def _of_mine(self, target: str) -> str:
        """The target for this camera; for a recorder without a channel in the file, the first channel."""
        return target.format(channel=self._camera.channel or 1)

    def _went_down(self, why: str) -> None:
        if self._is_up is not False:
            self._taker.tell(self._camera.id, False, why)
        self._is_up = False


def _written(wall: float, utc_offset: float | None) -> str:
    """A time in the format of the camera's records."""
    zone = UTC if utc_offset is None else timezone(timedelta(seconds=utc_offset))
    return datetime.fromtimestamp(wall, zone).strftime("%Y%m%dT%H%M%S%z")
