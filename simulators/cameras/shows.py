"""What a camera's web server gives when it is asked for its picture: a place by day or night, its faults, and its lies.

shows = Shows("yard")
shows.look = "night covered"           # words of `WORDS`, in any order; "" is an ordinary day
response = await shows.answer(request)
"""

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from random import Random
from time import strftime
from typing import Final

from aiohttp import web

from simulators.cameras.scene import KINDS, SIZE, Scene, SceneView, Weather, usual

_FAULTS: Final[Mapping[str, str]] = {
    "covered": "covered 0.7", "leaf": "leaf 0.5", "sprayed": "spray 0.8", "blurred": "blurred 6", "moved": "moved 12",
    "turned": "turned 6", "another": "another", "dark": "dark", "bright": "bright", "flat": "flat",
    "grey": "grey 0.5", "static": "static", "lost": "text-blue",
}  # fmt: skip
_WEATHERS: Final[Mapping[str, Weather]] = {
    "rain": "rain", "snowfall": "snowfall", "snow": "snow", "haze": "haze", "fog": "fog",
    "headlights": "headlights", "glare": "glare",
}  # fmt: skip
_THUMBNAIL: Final = (160, 90)
_WRONG_CLOCK_S: Final = 3600.0
_CHUNK: Final = bytes(64 << 10)
_BUSY_TIMES: Final = 2
"""Requests that a busy camera refuses before it answers one."""
Answer = Callable[["Shows", web.BaseRequest], Awaitable[web.StreamResponse]]


class Shows:
    """One camera's picture. The place follows from its name."""

    def __init__(self, name: str) -> None:
        self.look = ""
        place = zlib.crc32(name.encode())
        self._scene = Scene(KINDS[place % len(KINDS)], place % 1000)
        self._name = name
        self._shown = 0
        self._busy = 0

    def picture(self) -> bytes:
        """Of this moment: another one each time, but for a camera that repeats itself."""
        words = self.look.split()
        if "repeat" not in words or not self._shown:
            self._shown += 1
        chance = Random(f"{self._name}/{self._shown}")  # noqa: S311 - repeatable on purpose
        view = replace(
            usual(chance, night="night" in words),
            seed=self._shown, clock=strftime("%Y-%m-%d %H:%M:%S"), name=self._name[:12],
            fault=next((_FAULTS[word] for word in words if word in _FAULTS), ""),
            weather=next((_WEATHERS[word] for word in words if word in _WEATHERS), ""),
            size=_THUMBNAIL if "small" in words else SIZE,
        )  # fmt: skip
        return self._scene.picture(view)

    @property
    def clock_off(self) -> float:
        """Seconds that its clock is ahead, besides what it always is."""
        return _WRONG_CLOCK_S if "wrong-clock" in self.look.split() else 0.0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request for the picture."""
        for word in self.look.split():
            if word in _LIES:
                return await _LIES[word](self, request)
        return _jpeg(await asyncio.to_thread(self.picture))

    def reference(self, *, night: bool = False) -> bytes:
        """The place as who hangs the camera sees it: nobody there, at good light."""
        return self._scene.picture(SceneView(seed=0, night=night, noise=4.0 if night else 2.0))

    # ---- cameras that do not behave -----------------------------------------------------------------

    async def _hang(self, _request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def _drip(self, request: web.BaseRequest) -> web.StreamResponse:
        """A byte a second."""
        response = await _begun(request, "image/jpeg")
        for byte in self.picture():
            await response.write(bytes((byte,)))
            await asyncio.sleep(1.0)
        return response

    async def _endless(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await _begun(request, "image/jpeg")
        await response.write(b"\xff\xd8\xff\xe0")
        while True:
            await response.write(_CHUNK)

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pictures for ever, as to a browser."""
        response = await _begun(request, "multipart/x-mixed-replace; boundary=frame")
        while True:
            picture = self.picture()
            await response.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + picture + b"\r\n")
            await asyncio.sleep(0.2)

    async def _busy_answer(self, _request: web.BaseRequest) -> web.StreamResponse:
        self._busy += 1
        if self._busy % (_BUSY_TIMES + 1):
            return web.Response(status=503, text="Device Busy")
        return _jpeg(self.picture())

    async def _says_busy(self, _request: web.BaseRequest) -> web.StreamResponse:
        self._busy += 1
        if self._busy % (_BUSY_TIMES + 1):
            text = "<ResponseStatus><statusCode>2</statusCode><statusString>Device Busy</statusString></ResponseStatus>"
            return web.Response(text=text, content_type="application/xml")
        return _jpeg(self.picture())

    async def _html(self, _request: web.BaseRequest) -> web.StreamResponse:
        """A picture inside a page."""
        return web.Response(body=b"<html><body>" + self.picture() + b"</body></html>", content_type="text/html")

    async def _half(self, _request: web.BaseRequest) -> web.StreamResponse:
        picture = self.picture()
        return _jpeg(picture[: len(picture) // 2])

    async def _half_ended(self, _request: web.BaseRequest) -> web.StreamResponse:
        """Half of it, with a proper end."""
        picture = self.picture()
        return _jpeg(picture[: len(picture) // 2] + b"\xff\xd9")

    async def _bomb(self, _request: web.BaseRequest) -> web.StreamResponse:
        """Says that it has 100 megapixels."""
        picture = self.picture()
        at = picture.index(b"\xff\xc0")
        return _jpeg(picture[: at + 5] + struct.pack(">HH", 10_000, 10_000) + picture[at + 9 :])

    async def _exif(self, _request: web.BaseRequest) -> web.StreamResponse:
        """Metadata that says that it is turned, and as large as a house."""
        lie = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
        lie += struct.pack(">HHII", 0xA002, 4, 1, 90_000) + bytes(4)
        picture = self.picture()
        return _jpeg(picture[:2] + b"\xff\xe1" + struct.pack(">H", len(lie) + 2) + lie + picture[2:])

    async def _empty(self, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"", content_type="image/jpeg")


async def _begun(request: web.BaseRequest, content_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    return response


def _jpeg(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="image/jpeg")


_LIES: Final[Mapping[str, Answer]] = {
    "hang": Shows._hang, "drip": Shows._drip, "endless": Shows._endless, "stream": Shows._stream,  # noqa: SLF001
    "busy": Shows._busy_answer, "says-busy": Shows._says_busy, "html": Shows._html, "half": Shows._half,  # noqa: SLF001
    "half-ended": Shows._half_ended, "bomb": Shows._bomb, "exif": Shows._exif, "empty": Shows._empty,  # noqa: SLF001
}  # fmt: skip
WORDS: Final = ("normal", "night", "repeat", "small", "wrong-clock", *_FAULTS, *_WEATHERS, *_LIES)
"""All that `look` may say."""


def unknown_words(look: str) -> list[str]:
    """Those that mean nothing here."""
    return [word for word in look.split() if word not in WORDS]
