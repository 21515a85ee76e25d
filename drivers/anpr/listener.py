"""The port that cameras push to.

A client that is not a camera gets 403, a wrong path 404, a wrong token 401, a body too large or too slow 413 or 408. A
camera gets its maker's answer when its push is accepted, at the latest 150 ms after the last byte, even if the push is
unreadable or we have a problem, because some makers never send again. Each request is counted once, with its camera
or, if that is unknown, in `strangers`.
"""

import asyncio
import hmac
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from drivers.anpr import vzenith
from drivers.anpr.body_budget import Room
from drivers.anpr.camera_lookup import MOST_PASSAGES, Camera, Doors, checked, push_of
from drivers.anpr.camera_stats import Last, Tally
from drivers.anpr.capture import Capture, PushReply, Report, Unreadable
from drivers.anpr.connection_limit import Crowd
from drivers.anpr.http import Head, PushConnection, PushRefused, inflated
from drivers.anpr.makers import accepted, parse
from drivers.anpr.token_guessing import AT_ONCE, Guesses
from gateway.clock import Clock
from gateway.driver import PushTaker
from gateway.errors import ConfigError
from gateway.model import Instant

_log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 0.15
"""The longest time from the last byte of a push to its answer."""
BODY_WITHIN_S = 10.0
"""Time for the whole body, and for waiting until there is room for it."""
MAX_BODY_BYTES = 4 << 20
_AT_ONCE_BYTES = 64 << 10
"""A body up to this size is parsed in the loop; a larger one in a thread."""
_LARGE_BYTES = 1 << 20
"""Larger than any camera's push: parsed separately from others."""
_ALL_BODIES_BYTES = 64 << 20
_SILENT_S = 75.0
_IDLE_S = 2 * 3600.0
"""How long a camera may be silent on an open connection."""
_RETRY_S = 10.0
_RESOLVE_EVERY_S = 60.0
_RESOLVE_SOON_S = 5.0
_BACKLOG = 128

T = TypeVar("T")


class PushListener:
    """Listens at `host:port` (0: any free port, see `port`) until cancelled. Raises ConfigError for an unknown maker.

    `taker` gets every passage, and is asked about cameras with an `opening` within the 150 ms.
    """

    def __init__(
        self,
        host: str,
        port: int,
        cameras: Sequence[Camera],
        taker: PushTaker,
        clock: Clock,
        *,
        max_body: int = MAX_BODY_BYTES,
    ) -> None:
        self.port = port
        self.listening = asyncio.Event()
        self.strangers: Counter[str] = Counter()
        """Refused requests of no known camera, by reason."""
        self._host = host
        self._cameras = checked(cameras)
        self._doors = Doors(self._cameras)
        self._taker = taker
        self._clock = clock
        self._max_body = max_body
        self._room = Room(max(max_body, min(3 * max_body, _ALL_BODIES_BYTES)))
        self._turn = asyncio.Lock()
        self._tallies = {one.id: Tally() for one in self._cameras}
        self._guesses = {one.id: Guesses(one.id, taker) for one in self._cameras}
        self._crowd = Crowd()
        self._group: asyncio.TaskGroup | None = None
        self._workers = [ThreadPoolExecutor(1, name) for name in ("camera pushes", "large camera pushes")]
        self._unread_tokens: set[str] = set()
        self._bugs: set[type[BaseException]] = set()

    def snapshot(self) -> Mapping[str, Mapping[str, int | float | str | bool | None]]:
        """The counts for health, by camera."""
        wall = self._clock.now().wall
        return {id_: tally.told(wall) for id_, tally in self._tallies.items()}

    def unreadable(self, camera: str) -> Last | None:
        """The last unreadable push of this camera."""
        found = self._tallies.get(camera)
        return None if found is None else found.unreadable

    def forget(self) -> None:
        """Drop all unreadable pushes, because they may contain any plate."""
        for tally in self._tallies.values():
            tally.forget()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return self._crowd.count

    @property
    def reading(self) -> int:
        """Reserved bytes of bodies."""
        return self._room.used

    async def run(self) -> None:
        """Listen until cancelled. If the port is in use, retry."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                if self._doors.names:
                    group.create_task(self._resolve(), name="camera names")
                port = await self._listen()
                try:
                    self.port = port.sockets[0].getsockname()[1]
                    self.listening.set()
                    await asyncio.Event().wait()
                finally:
                    self.listening.clear()
                    port.close()
        finally:
            self._group = None
            for worker in self._workers:
                worker.shutdown(wait=False, cancel_futures=True)

    async def _listen(self) -> asyncio.Server:
        told = False
        while True:
            try:
                port = await asyncio.start_server(self._connected, self._host, self.port, backlog=_BACKLOG)
            except OSError as error:
                if not told:
                    why = f"cannot listen at {self._host}:{self.port}: {error.strerror}"
                    self._taker.tell("http.cameras", False, why)
                told = True
                await asyncio.sleep(_RETRY_S)
            else:
                if told:
                    self._taker.tell("http.cameras", True, "")
                return port

    async def _resolve(self) -> None:
        """Resolve the host names of cameras; the last answer stays valid until there is a new one."""
        loop = asyncio.get_running_loop()
        known: set[str] = set()
        while True:
            for name in self._doors.names:
                try:
                    found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
                except OSError:
                    continue
                known.add(name)
                self._doors.resolved(name, [str(one[4][0]) for one in found])
            await asyncio.sleep(_RESOLVE_EVERY_S if known == self._doors.names else _RESOLVE_SOON_S)

    # ---- one connection ---------------------------------------------------------------------------

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._group is None:
            writer.transport.abort()
            return
        self._group.create_task(self._serve(PushConnection(reader, writer)), name="camera connection")

    async def _serve(self, wire: PushConnection) -> None:
        """Serve the requests of a connection, one after the other."""
        idle = _SILENT_S
        try:
            if not self._crowd.enter(wire):
                self._count(self._doors.only(wire.remote), "crowded" if self._doors.knows(wire.remote) else "stranger")
                wire.abort()
                return
            while await self._one(wire, idle):
                idle = _IDLE_S
                self._crowd.idle(wire)
            self._crowd.leaving(wire)
            await wire.linger()
        except (OSError, TimeoutError):
            pass  # it is gone, or does not read its answers
        except Exception as bug:  # noqa: BLE001 - a bug in one connection must not affect others
            self._log_bug("a connection", bug)
        finally:
            self._crowd.leave(wire)
            wire.close()

    async def _one(self, wire: PushConnection, idle: float) -> bool:
        """Serve one request; False: there was none, or the connection ends. Raises OSError, TimeoutError."""
        try:
            head = await wire.head(idle)
        except PushRefused as no:
            self._count(self._doors.only(wire.remote), no.why if self._doors.knows(wire.remote) else "stranger")
            return await wire.answer(no.status, b"", "", keeps=False)
        if head is None:
            return False
        self._crowd.busy(wire)
        found = self._doors.find(head.path, wire.remote)
        if isinstance(found, str):
            self._count(self._doors.only(wire.remote), found)
            status = 403 if found in ("stranger", "other-camera") else 404
            return await wire.answer(status, b"", "", keeps=False)
        camera, path = found
        try:
            reply = await self._push(wire, camera, path, head)
        except PushRefused as no:
            self._count(camera, no.why)
            return await wire.answer(no.status, b"", "", keeps=False)
        return await wire.answer(reply.status, reply.body, reply.content_type, keeps=head.keeps)

    def _count(self, camera: Camera | None, why: str) -> None:
        """Count a refused request for its camera."""
        if camera is None:
            self.strangers[why] += 1
        else:
            self._tallies[camera.id].refused(why)

    # ---- one request ------------------------------------------------------------------------------

    async def _push(self, wire: PushConnection, camera: Camera, path: str, head: Head) -> PushReply:
        """Read a push and pass it on; returns the answer. Raises Refused."""
        if not self._may(camera, head.query.get("token", "")):
            await self._guess(wire, camera)
            raise PushRefused(401, "token")
        if head.method not in ("POST", "PUT", "GET"):
            raise PushRefused(405, "method")
        if (head.length or 0) > self._max_body:
            raise PushRefused(413, "size")
        content_type = head.headers.get("content-type", "")

        async def is_whole(body: bytes) -> bool:
            return await self._is_whole(camera, path, body, content_type)

        size = self._max_body if head.length is None and head.method != "GET" else head.length or 0
        try:
            async with asyncio.timeout(BODY_WITHIN_S) as patience:
                async with self._room.reserved(camera.id, size):
                    if head.headers.get("expect", "").lower() == "100-continue":
                        await wire.go_on()
                    payload = await wire.body(head, self._max_body, is_whole)
                    patience.reschedule(None)
                    return await self._said(camera, path, payload, head)
        except TimeoutError as error:
            raise PushRefused(408, "slow") from error
        except ConnectionError as error:
            raise PushRefused(400, "broken") from error

    async def _guess(self, wire: PushConnection, camera: Camera) -> None:
        """Handle a wrong token. Raises ConnectionError if too many wait for their answer already."""
        guesses = self._guesses[camera.id]
        loop = asyncio.get_running_loop()
        delay = guesses.wrong(loop.time())
        self._crowd.leaving(wire)
        if not delay:
            return
        loop.call_later(61.0, lambda: guesses.look(loop.time()))
        if guesses.waiting >= AT_ONCE:
            wire.abort()
            return
        guesses.waiting += 1
        try:
            await asyncio.sleep(delay)
        finally:
            guesses.waiting -= 1

    def _may(self, camera: Camera, token: str) -> bool:
        if camera.token is None:
            return True
        try:
            wanted = camera.token.read()
        except ConfigError as error:
            if camera.id not in self._unread_tokens:
                self._unread_tokens.add(camera.id)
                self._taker.tell(camera.id, False, str(error))
            return False
        if camera.id in self._unread_tokens:
            self._unread_tokens.discard(camera.id)
            self._taker.tell(camera.id, True, "")
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), wanted.encode())

    async def _beside(self, body: bytes, work: Callable[[], T]) -> T:
        """Do work on a body in a thread. Raises what the work raises."""
        return await asyncio.get_running_loop().run_in_executor(self._workers[len(body) > _LARGE_BYTES], work)

    async def _read(self, camera: Camera, path: str, payload: bytes, content_type: str) -> Report:
        """Parse a push. Raises Unreadable."""
        if len(payload) > _AT_ONCE_BYTES:
            return await self._beside(
                payload, lambda: parse(camera.driver, payload, content_type, path, camera.settings)
            )
        # After each push other tasks get a turn, so that a flood does not delay a fire.
        await self._turn.acquire()
        asyncio.get_running_loop().call_soon(self._turn.release)
        return parse(camera.driver, payload, content_type, path, camera.settings)

    async def _is_whole(self, camera: Camera, path: str, payload: bytes, content_type: str) -> bool:
        """True if a body is complete by its format and readable."""
        if not payload.rstrip(b"\x00 \r\n\t").endswith((b">", b"}", b"]", b"--")):
            return False
        try:
            await self._read(camera, path, payload, content_type)
        except Unreadable:
            return False
        return True

    async def _said(self, camera: Camera, path: str, payload: bytes, head: Head) -> PushReply:
        """The answer to the camera. Raises Refused; our own errors are not shown to the camera."""
        at = self._clock.now()
        until = asyncio.get_running_loop().time() + ANSWER_WITHIN_S
        tally = self._tallies[camera.id]
        content_type, coding = head.headers.get("content-type", ""), head.headers.get("content-encoding", "")
        try:
            if coding:
                payload = await self._beside(payload, partial(inflated, payload, coding, self._max_body))
            report = await self._read(camera, path, payload, content_type)
        except Unreadable as error:
            tally.unread(str(error), at.wall, payload, path, content_type)
            tally.say(camera.id, self._taker)
            return accepted(camera.driver, path)
        except Exception as bug:  # noqa: BLE001 - a bug must neither leave a camera unanswered nor affect others
            tally.unread("error of our own", at.wall, payload, path, content_type)
            self._bug(camera, bug)
            return accepted(camera.driver, path)
        cars = self._cars(camera, report, head.query.get("token", ""))
        self._heard(cars[0][0] if cars else camera, report, cars, at.wall)
        try:
            return await self._handed_over(cars, report, at, until)
        except Exception as bug:  # noqa: BLE001 - as above
            self._bug(camera, bug)
            return accepted(camera.driver, path)

    def _bug(self, camera: Camera, bug: Exception) -> None:
        self._tallies[camera.id].counts["bugs"] += 1
        self._log_bug(f"a push of {camera.id}", bug)

    def _log_bug(self, where: str, bug: Exception) -> None:
        """Log each kind of bug once."""
        if type(bug) not in self._bugs:
            self._bugs.add(type(bug))
            _log.error("error of our own in %s", where, exc_info=bug)

    def _cars(self, camera: Camera, report: Report, token: str) -> list[tuple[Camera, Capture]]:
        """Each car with the camera of its recorder channel. Raises Refused if none is in the file."""
        found = []
        for one in report.captures:
            owner = camera if one.is_of(camera.channel) else self._doors.of_channel(camera, one.channel)
            if owner is not None and (owner is camera or self._may(owner, token)):
                found.append((owner, one))
        if report.captures and not found:
            raise PushRefused(403, "channel")
        return found

    def _heard(self, camera: Camera, report: Report, cars: list[tuple[Camera, Capture]], wall: float) -> None:
        """Count the push for its first car's camera, and each car for its own."""
        tally = self._tallies[camera.id]
        tally.heard(replace(report, captures=()), wall)
        tally.counts["cut"] += len(report.captures) - len(cars) + max(0, len(cars) - MOST_PASSAGES)
        tally.say(camera.id, self._taker)
        for owner, _ in cars[:MOST_PASSAGES]:
            self._tallies[owner.id].counts["passages"] += 1
            self._tallies[owner.id].last = wall

    async def _handed_over(
        self, cars: list[tuple[Camera, Capture]], report: Report, at: Instant, until: float
    ) -> PushReply:
        opens = False
        for camera, capture in cars[:MOST_PASSAGES]:
            push = push_of(camera, capture, at)
            try:
                async with asyncio.timeout_at(until):
                    await self._taker.take(push)
                    if camera.opening is not None and not capture.history:
                        opens = await self._taker.opens(push)
            except TimeoutError:
                self._tallies[camera.id].counts["late"] += 1
        if opens and len(cars) == 1:
            return vzenith.reply(report.record, cars[0][0].opening)
        return report.reply
