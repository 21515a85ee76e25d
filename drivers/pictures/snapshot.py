"""A camera's picture of this moment, over HTTP."""

import asyncio

from drivers.pictures.account import CameraSession
from drivers.pictures.paths import targets
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent

LARGEST = 8 << 20
"""Bytes of a picture."""
WITHIN_S = 10.0
_NOT_HERE = frozenset({400, 404, 405, 501})
"""What cameras say of a path that they do not know."""


class Snapshots:
    """Pictures of one camera. `snapshot`: the site file's URL, if any. Raises ConfigError if it leads elsewhere.

    `channel`: of the recorder at its address; without one the first.
    """

    def __init__(
        self, id_: str, driver: str, account: CameraSession, snapshot: str | None = None, channel: int | None = None
    ) -> None:
        if snapshot is not None:
            account.check(snapshot)
        self._id = id_
        self._driver = driver
        self._account = account
        self._targets = targets(driver, snapshot, channel or 1)

    async def take(self) -> bytes:
        """The JPEG as the camera sent it, not decoded yet.

        Raises DeviceSilent: no picture within 10 s; DeviceRefused: the camera does not want to; ConfigError: nobody
        knows where this maker keeps pictures.
        """
        if not self._targets:
            raise ConfigError(f"camera {self._id}: where {self._driver} keeps its picture is not known: write snapshot")
        try:
            async with asyncio.timeout(WITHIN_S):
                return await self._first()
        except TimeoutError as error:
            raise DeviceSilent(f"camera {self._id}: no picture in time") from error

    async def _first(self) -> bytes:
        """From the first target that the camera knows; the others are not asked again."""
        *others, last = self._targets
        for target in others:
            try:
                return await self._from(target)
            except DeviceRefused as no:
                if no.code not in _NOT_HERE:
                    raise
        return await self._from(last)

    async def _from(self, target: str) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async with self._account.ask(target) as answer:
            while piece := await answer.read():
                size += len(piece)
                if size > LARGEST:
                    raise DeviceRefused(413, f"camera {self._id}: a picture over {LARGEST} bytes")
                pieces.append(piece)
        self._targets = (target,)
        found = b"".join(pieces)
        if not found.startswith(b"\xff\xd8\xff"):
            raise DeviceRefused(200, f"camera {self._id}: sent no JPEG")
        return found
