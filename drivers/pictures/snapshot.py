"""Gets a camera's present picture over HTTP: one request at a time, with retries while the camera is busy."""

import asyncio
from collections.abc import Sequence

from drivers.pictures.account import CameraAnswer, CameraSession
from drivers.pictures.asking import CameraQuestions
from drivers.pictures.bodies import first_part, is_jpeg, is_mixed
from drivers.pictures.onvif import NotOnvif
from drivers.pictures.paths import RECORDER, targets
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent

MAX_PICTURE_BYTES = 8 << 20
"""The largest picture in bytes."""
WITHIN_S = 10.0
"""Time for one try."""
AGAIN_AFTER_S = (1.0, 3.0)
"""Pauses before a busy camera is asked again."""
_NOT_HERE = frozenset({400, 404, 405, 501})
"""Statuses of cameras for an unknown path."""
_BUSY = 503


class NoPicture(DeviceRefused):
    """The answer is not a picture. `reason`: `no-picture`, or `damaged` if it begins like one."""

    def __init__(self, reason: str, detail: str, code: int = 200) -> None:
        super().__init__(code, detail)
        self.reason = reason


class Snapshots:
    """Pictures of one camera. `snapshot`: the site file's URL, if any. Raises ConfigError if it leads to another host.

    `channel`: of the recorder at its address; without one the first. `questions`: asks the camera where its
    picture is, where the file does not say.
    """

    def __init__(
        self,
        id_: str,
        driver: str,
        account: CameraSession,
        snapshot: str | None = None,
        channel: int | None = None,
        *,
        questions: CameraQuestions | None = None,
    ) -> None:
        if snapshot is not None:
            account.check(snapshot)
        self._id = id_
        self._driver = driver
        self._account = account
        self._targets: Sequence[str] = targets(driver, snapshot, channel or 1)
        self._questions = questions if snapshot is None else None
        self._lock = asyncio.Lock()

    async def take(self) -> bytes:
        """The JPEG as the camera sent it, not decoded.

        Raises DeviceSilent: no picture within 10 s, in up to three tries; NoPicture: something else came;
        DeviceRefused: the camera refuses; ConfigError: no path is known for this maker.
        """
        if not self._targets:
            raise ConfigError(f"camera {self._id}: where {self._driver} keeps its picture is not known: write snapshot")
        async with self._lock:
            for pause in AGAIN_AFTER_S:
                try:
                    return await self._tried()
                except DeviceRefused as no:
                    if no.code not in (200, _BUSY):
                        raise
                await asyncio.sleep(pause)
            return await self._tried()

    async def _tried(self) -> bytes:
        try:
            async with asyncio.timeout(WITHIN_S):
                return await self._first()
        except TimeoutError as error:
            raise DeviceSilent(f"camera {self._id}: no picture in time") from error

    async def _first(self) -> bytes:
        """Get the picture from the first target that the camera knows; others are not tried again."""
        if self._questions is not None:
            await self._ask_where(self._questions)
        refused: DeviceRefused | None = None
        for target in self._targets:
            try:
                return await self._from(target)
            except DeviceRefused as no:
                if no.code == 403 and any(RECORDER in one for one in self._targets):
                    refused = no  # a recorder answers like this for the paths of cameras
                elif no.code not in _NOT_HERE:
                    raise
                else:
                    refused = refused or no
        assert refused is not None  # noqa: S101 - there is a target, which gave a picture or this error
        raise refused

    async def _ask_where(self, questions: CameraQuestions) -> None:
        """Prefer the camera's own address of the picture; without ONVIF use the known paths of its maker."""
        try:
            self._targets = (await questions.snapshot_target(), *self._targets)
        except NotOnvif as error:
            raise ConfigError(f"camera {self._id}: {error}") from error
        except DeviceRefused as no:
            if no.code not in _NOT_HERE:
                raise
        self._questions = None

    async def _from(self, target: str) -> bytes:
        async with self._account.ask(target) as answer:
            found = await self._body(answer)
        self._targets = (target,)
        if not found.startswith(b"\xff\xd8\xff"):
            raise NoPicture("no-picture", f"camera {self._id}: sent no JPEG")
        if not is_jpeg(found):
            raise NoPicture(
                "damaged", f"camera {self._id}: sent {len(found)} bytes of a JPEG without its end", code=206
            )
        return found

    async def _body(self, answer: CameraAnswer) -> bytes:
        """The complete body, or the first picture of an endless one."""
        boundary = is_mixed(answer.content_type)
        buffer = bytearray()
        while piece := await answer.read():
            searched = len(buffer)
            buffer += piece
            if len(buffer) > MAX_PICTURE_BYTES:
                raise NoPicture("no-picture", f"camera {self._id}: a picture over {MAX_PICTURE_BYTES} bytes", code=413)
            if boundary is not None and (part := first_part(buffer, boundary, searched)) is not None:
                return part
        return bytes(buffer)
