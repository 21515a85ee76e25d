"""A camera's own web server: its picture, its endless stream of events, the records in its memory; behind digest."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Final, Protocol, Self

from aiohttp import web

from simulators.cameras import dahua, hikvision, onvif
from simulators.cameras.jpeg import jpeg
from simulators.cameras.logins import Logins
from simulators.cameras.maker import Maker
from simulators.cameras.model import Asked, CameraSetup, CarSight
from simulators.cameras.onvif import OnvifCamera
from simulators.cameras.shows import Shows

_KEPT: Final = 4096
_WAITING: Final = 256
_BEAT_S: Final = 10.0
_END_S: Final = 0.01
"""Seconds for what is being answered; none at all would mean for ever."""
_ENDLESS: Final = "multipart/x-mixed-replace; boundary="
Parts = Iterable[tuple[str, bytes]]
Spoken = Callable[[CarSight], Parts]


class Told(Protocol):
    """The camera behind the web server."""

    @property
    def sights(self) -> Iterable[CarSight]:
        """What it saw."""
        ...

    def fetched(self, sight: CarSight) -> None:
        """Somebody asked for this one."""
        ...

    def changed(self) -> None:
        """Somebody asked for something, came or went."""
        ...


class CameraWeb:
    """`async with CameraWeb(…)`: listens at the camera's address; `port` is where.

    `picture`: what it shows, whatever these bytes are; None: another good picture each time. `shows`: the place that a
    camera for pictures shows, and how it behaves then.
    """

    def __init__(self, setup: CameraSetup, maker: Maker, camera: Told) -> None:
        self.port = setup.port
        self.picture: bytes | None = None
        self.plugged = True
        self.asked: deque[Asked] = deque(maxlen=_KEPT)
        self.logins = Logins(setup.username, setup.password, wrong=setup.wrong_logins, lockout=setup.lockout)
        self._setup = setup
        self._maker = maker
        self._camera = camera
        self.shows: Shows | None = Shows(setup.name) if setup.mode is None else None
        self.onvif = (
            OnvifCamera("", setup.username or "", setup.password or "", setup.clock_off)
            if setup.driver == "onvif"
            else None
        )
        self._streams: dict[asyncio.Queue[CarSight], web.BaseRequest] = {}
        self._server = web.Server(self._one, access_log=None)
        self._listener: asyncio.Server | None = None
        self._shown = 0

    async def __aenter__(self) -> Self:
        """Raises OSError if the machine gives no port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, self._setup.address, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        if self.onvif is not None:
            self.onvif.host = self._setup.onvif_host or f"{self._setup.address}:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Every connection ends."""
        if self._listener is not None:
            self._listener.close()
        await self._server.shutdown(_END_S)

    @property
    def attached(self) -> int:
        """How many follow its stream."""
        return len(self._streams)

    def unplug(self) -> None:
        """Cut every connection; new ones end at their first request."""
        self.plugged = False
        for request in self._streams.values():
            _cut(request)

    def plug(self) -> None:
        """Reachable again."""
        self.plugged = True

    def tell(self, sight: CarSight) -> bool:
        """To everybody who follows; False: nobody does."""
        for queue in self._streams:
            if queue.qsize() < _WAITING:
                queue.put_nowait(sight)
        return bool(self._streams)

    # ---- one request ------------------------------------------------------------------------------

    async def _one(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self.plugged:
            _cut(request)
            return web.Response(status=503)
        if self.onvif is not None and request.path in (onvif.DEVICE, onvif.MEDIA):
            said = await self.onvif.answer(request)
            self._note(request, said.status)
            return said
        refused = self._refused(request)
        if refused is None and (spoken := self._stream_of(request)) is not None:
            self._note(request, 200)
            return await self._stream(request, *spoken)
        response = refused if refused is not None else await self._page(request)
        self._note(request, response.status)
        return response

    def _note(self, request: web.BaseRequest, status: int) -> None:
        self.asked.append(Asked(request.remote or "", request.method, request.path_qs, status))
        self._camera.changed()

    def _refused(self, request: web.BaseRequest) -> web.Response | None:
        now = asyncio.get_running_loop().time()
        remote = request.remote or ""
        verdict = self.logins.judge(
            remote, request.method, request.path_qs, request.headers.get("Authorization", ""), now
        )
        if verdict == "in":
            return None
        if verdict != "locked":
            return web.Response(
                status=401, headers={"WWW-Authenticate": self.logins.challenge(stale=verdict == "stale")}
            )
        if self._setup.driver != "hikvision":
            return web.Response(status=403, text="Error\r\nAccount locked\r\n")
        left = round(self.logins.locked_for(remote, now))
        body = f"<lockStatus>lock</lockStatus><unlockTime>{left}</unlockTime><retryLoginTime>0</retryLoginTime>"
        text = f"<userCheck><statusValue>401</statusValue><statusString>Unauthorized</statusString>{body}</userCheck>"
        return web.Response(status=401, text=text, content_type="application/xml")

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path in self._maker.snapshots or path in (self._setup.snapshot, onvif.PICTURE if self.onvif else None):
            return self._photograph() if self.shows is None or self.picture else await self.shows.answer(request)
        if (clock := self._clock(request)) is not None:
            return clock
        if isinstance(self._maker, hikvision.Hikvision) and path == "/ISAPI/Traffic/channels/1/vehicleDetect/plates":
            body, found = self._maker.plates(self._camera.sights, await request.read())
            for sight in found:
                self._camera.fetched(sight)
            return web.Response(body=body, content_type="application/xml")
        return web.Response(status=404)

    def _clock(self, request: web.BaseRequest) -> web.Response | None:
        """Its own clock, by the maker's own way."""
        off = self._setup.clock_off + (self.shows.clock_off if self.shows is not None else 0.0)
        there = datetime.fromtimestamp(time.time() + off, timezone(timedelta(seconds=self._setup.utc_offset)))
        if self._setup.driver == "hikvision" and request.path == "/ISAPI/System/time":
            text = f"<Time><localTime>{there.isoformat(timespec='seconds')}</localTime></Time>"
            return web.Response(text=text, content_type="application/xml")
        if self._setup.driver == "dahua" and request.path_qs == "/cgi-bin/global.cgi?action=getCurrentTime":
            return web.Response(text=f"result={there:%Y-%m-%d %H:%M:%S}\r\n")
        return None

    def _photograph(self) -> web.Response:
        picture = self.picture
        if picture is None:
            self._shown += 1
            picture = jpeg(self._setup.picture_bytes, seed=self._shown)
        kind = "image/jpeg" if picture.startswith(b"\xff\xd8") else "text/plain"
        return web.Response(body=picture, content_type=kind)

    # ---- streams ----------------------------------------------------------------------------------

    def _stream_of(self, request: web.BaseRequest) -> tuple[str, bytes, Spoken, Parts, float] | None:
        """Content type, delimiter, what is said of a car, the heart-beat and how often it comes; None: no stream."""
        maker, query = self._maker, request.query
        if isinstance(maker, hikvision.Hikvision):
            if request.path != "/ISAPI/Event/notification/alertStream":
                return None
            beat = [('Content-Type: application/xml; charset="UTF-8"', maker.heartbeat_xml())]
            delimiter = hikvision.BOUNDARY
            every = self._setup.heartbeat or _BEAT_S
            return f"multipart/mixed; boundary={delimiter}", delimiter.encode(), maker.stream_parts, beat, every
        if not isinstance(maker, dahua.Dahua):
            return None
        spoken = {
            ("/cgi-bin/snapManager.cgi", "attachFileProc"): maker.snap_parts,
            ("/cgi-bin/eventManager.cgi", "attach"): maker.event_parts,
        }.get((request.path, query.get("action", "")))
        if spoken is None:
            return None
        asked = query.get("heartbeat", "")
        every = self._setup.heartbeat or (float(asked) if asked.isdecimal() and 0 < int(asked) <= 60 else _BEAT_S)
        beat = [("Content-Type: text/plain", b"Heartbeat")]
        return f"{_ENDLESS}{dahua.BOUNDARY}", dahua.BOUNDARY.encode(), spoken, beat, every

    async def _stream(
        self, request: web.BaseRequest, content_type: str, delimiter: bytes, spoken: Spoken, beat: Parts, every: float
    ) -> web.StreamResponse:
        """Until the other side leaves, or the camera is unplugged."""
        response = web.StreamResponse(headers={"Content-Type": content_type})
        queue: asyncio.Queue[CarSight] = asyncio.Queue()
        try:
            await response.prepare(request)
            self._streams[queue] = request
            self._camera.changed()
            while True:
                try:
                    async with asyncio.timeout(every):
                        parts: Parts = spoken(await queue.get())
                except TimeoutError:
                    parts = beat
                for head, body in parts:
                    start = b"--%b\r\n%b\r\nContent-Length: %d\r\n\r\n" % (delimiter, head.encode(), len(body))
                    await response.write(start + body + b"\r\n")
        except ConnectionError:
            return response
        finally:
            self._streams.pop(queue, None)
            self._camera.changed()


def _cut(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
