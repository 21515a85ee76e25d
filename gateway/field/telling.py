"""What the rest of the gateway is told of the devices of a line: changes, silence, return."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway.field.device import Device
from gateway.field.telemetry import Telemetry
from gateway.log import logger
from gateway.model import Answer, DeviceBlind, DeviceHealth, Input, Instant, Reading

_log = logger(__name__)


class Telling:
    """To the site first, it may be a fire; then to telemetry. Waits while the site's inbox is full."""

    def __init__(self, line: str, put: Callable[[Input], Awaitable[None]], telemetry: Telemetry) -> None:
        self._line = line
        self._put = put
        self._telemetry = telemetry
        self._order = asyncio.Lock()
        """Whoever found a change first tells it first, also if the inbox makes him wait."""

    def meet(self, device: Device) -> None:
        """The device belongs to the line from now on."""
        self._telemetry.add(device.name, device.table.picture)

    async def changed(
        self, device: Device, changed: Mapping[str, Reading], at: Instant, asked: Mapping[str, Reading] | None = None
    ) -> None:
        """Pass on what changed. What the site asked for it gets anyhow.

        One answer of the device is one `Answer`: the site counts them where an alarm has to be confirmed.
        """
        if changed or asked:
            async with self._order:
                seen = device.seen_by_site(changed)
                if asked:
                    seen.update(asked)
                if seen:
                    await self._put(Answer(device.name, seen, at))
                if changed:
                    self._telemetry.changed(device.name, changed)
        if not device.settled and not device.table.untried:
            device.settled = True
            self._telemetry.ready(device.name)

    async def sight(self, device: Device, at: Instant, *, line_up: bool) -> None:
        """Whether an alarm point of it cannot be seen though it shows life; told once."""
        readings = device.table.readings
        blind = device.sight.look(readings, at, alive=line_up and device.shows_life)
        if blind is None:
            return
        detail = device.sight.detail(readings, device.code) if blind else ""
        if blind:
            _log.warning("device blind", line=self._line, device=device.name, detail=detail)
        await self._put(DeviceBlind(device.name, blind, detail, at))

    async def silent(self, device: Device, at: Instant) -> None:
        """The device answers no more; told once."""
        if device.answering is False:
            return
        device.answering = False
        device.since = at.mono
        detail = f"{device.misses} reads in a row without an answer"
        _log.warning("device silent", line=self._line, device=device.name, detail=detail)
        await self._put(DeviceHealth(device.name, answering=False, detail=detail, at=at))

    async def answering(self, device: Device, at: Instant) -> None:
        """The device answers (again); told once."""
        if device.answering is True:
            return
        if device.answering is False:
            silent_for = round(at.mono - device.since, 1)
            _log.info("device answering", line=self._line, device=device.name, silent_for=silent_for)
        device.answering = True
        await self._put(DeviceHealth(device.name, answering=True, detail="", at=at))
