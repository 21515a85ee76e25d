"""The relay that is on while the gateway is well, and drops when it is not (`self.alive`).

A module with its own timed pulse releases the relay soon after our last write, so also when this process is gone; any
other module keeps the last written value.
"""

import asyncio
from typing import Protocol

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.field.lines import Line
from gateway.log import logger
from gateway.site.settings import Ref

_log = logger(__name__)

_LOOK_EVERY_S = 1.0
_RETRY_S = 5.0
"""Written again at this interval, because a module that lost power has forgotten it."""
_PULSE_S = 15.0
"""The length of a timed pulse: it ends when three writes are missing."""


class Wellness(Protocol):
    """Knows whether the gateway is well."""

    def is_well(self) -> bool:
        """True if it is alive, its decisions are stored, and no part of it is off."""
        ...


class Alive:
    """The relay. `line`: its line; `vitals`: asked once a second; `timed`: the module has a timed pulse."""

    def __init__(self, at: Ref, line: Line, clock: Clock, vitals: Wellness, *, timed: bool) -> None:
        self._at = at
        self._line = line
        self._clock = clock
        self._vitals = vitals
        self._timed = timed

    async def run(self) -> None:
        """Switch the relay until cancelled. Nothing is written at the end of the process."""
        told: bool | None = None
        told_at = 0.0
        while True:
            well, now = self._vitals.is_well(), self._clock.now().mono
            if well is not told or now - told_at >= _RETRY_S:
                try:
                    await self._write(well)
                except GatewayError as error:
                    if told is not None:
                        _log.warning("the relay that says that all is well cannot be told", why=str(error))
                    told = None
                else:
                    told, told_at = well, now
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _write(self, well: bool) -> None:
        value = (_PULSE_S if self._timed else True) if well else False
        await self._line.order(self._at.device, self._at.point, value, self._clock.now().mono + _LOOK_EVERY_S)
