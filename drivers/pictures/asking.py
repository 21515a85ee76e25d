"""Other requests to a camera: its clock, and through ONVIF the address of its picture."""

import asyncio
import os

from drivers.pictures import onvif
from drivers.pictures.account import CameraSession
from drivers.pictures.camera_time import TARGETS, time_told
from drivers.pictures.onvif import NotOnvif
from gateway.clock import Clock
from gateway.errors import ConfigError, DeviceError, DeviceRefused, DeviceSilent

WITHIN_S = 5.0
"""Time for each request."""
_REFUSES = frozenset({400, 401, 403, 500})
"""Statuses with which cameras reject a login; for ONVIF the cause may be the time in it."""


class CameraQuestions:
    """Asks one camera. `utc_offset`: of its clock, if it sends no zone."""

    def __init__(self, driver: str, account: CameraSession, clock: Clock, utc_offset: float | None = None) -> None:
        self._driver = driver
        self._account = account
        self._clock = clock
        self._utc_offset = utc_offset
        self._offset: float | None = None
        """The offset of the camera's clock by ONVIF, seconds; None: not asked, or a login with it was refused."""
        self._refused: str | None = None
        """The password that was."""

    async def clock_off(self) -> float | None:
        """How far its clock is ahead of ours, seconds; None: not known."""
        try:
            target = TARGETS.get(self._driver)
            if target is None:
                return await self._onvif_offset()
            there = time_told(await self._asked(target), self._utc_offset)
        except (DeviceError, ConfigError, NotOnvif):
            return None
        return None if there is None else there - self._clock.now().wall

    async def snapshot_target(self) -> str:
        """Ask ONVIF for path and query of its picture, at the camera's own address.

        A refused login is not tried again with the same password. Raises NotOnvif: the camera gives no address, or one
        elsewhere; DeviceSilent, DeviceRefused, ConfigError.
        """
        if self._refused is not None and self._refused == self._account.secret():
            raise DeviceRefused(401, "refused the login; not tried again")
        was_known = self._offset is not None
        try:
            return await self._found()
        except DeviceRefused as no:
            if no.code != 401:
                raise
            if not was_known or self._account.locked:
                self._refused = self._account.secret()
                raise
        self._offset = None  # its clock may have been set since
        try:
            return await self._found()
        except DeviceRefused:
            self._refused = self._account.secret()
            raise

    async def _found(self) -> str:
        if self._offset is None:
            self._offset = await self._onvif_offset()
        try:
            media, address = onvif.media_of(await self._said(onvif.DEVICE, onvif.ask_services()))
        except (DeviceRefused, NotOnvif) as error:
            if isinstance(error, DeviceRefused) and error.code == 401:
                raise
            media, address = onvif.media_of(await self._said(onvif.DEVICE, onvif.ask_capabilities()))
        at = onvif.at_its_own(address, self._account.origin)
        try:
            profile = onvif.profile_of(await self._said(at, onvif.ask_profiles(media, self._login())))
            told = await self._said(at, onvif.ask_snapshot(media, profile, self._login()))
        except DeviceRefused as no:
            raise DeviceRefused(401 if no.code in _REFUSES else no.code, f"ONVIF: {no}") from no
        return onvif.at_its_own(onvif.snapshot_of(told), self._account.origin)

    async def _onvif_offset(self) -> float:
        return onvif.time_of(await self._said(onvif.DEVICE, onvif.ask_time())) - self._clock.now().wall

    def _login(self) -> str:
        username, password = self._account.username, self._account.secret()
        if username is None:
            return ""
        return onvif.login(username, password, os.urandom(16), self._clock.now().wall + (self._offset or 0.0))

    async def _said(self, target: str, body: bytes) -> bytes:
        return await self._asked(target, method="POST", body=body, content_type=onvif.CONTENT_TYPE)

    async def _asked(self, target: str, *, method: str = "GET", body: bytes = b"", content_type: str = "") -> bytes:
        """Ask; returns the complete answer. Raises DeviceSilent, DeviceRefused, ConfigError."""
        buffer = bytearray()
        try:
            async with (
                asyncio.timeout(WITHIN_S),
                self._account.ask(target, method=method, body=body, content_type=content_type) as answer,
            ):
                while piece := await answer.read():
                    buffer += piece
                    if len(buffer) > onvif.MAX_ANSWER_BYTES:
                        raise DeviceRefused(413, "an answer that is too large")
        except TimeoutError as error:
            raise DeviceSilent("no answer in time") from error
        return bytes(buffer)
