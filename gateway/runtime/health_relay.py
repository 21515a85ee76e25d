"""The relay that is held while the gateway is well, and drops when it is not (`self.alive`).

A module with a timed pulse of its own lets it go by itself soon after the last word of ours, so also when this
process is gone; any other keeps what it was told last.
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
"""Told again so often: a module that lost its power has forgotten."""
_PULSE_S = 15.0
"""A timed pulse lasts until the third word that does not come."""


class Wellness(Protocol):
    """Who knows how the gateway is."""

    def is_well(self) -> bool:
        """It lives, what it decides is kept, and nothing of it is off."""
        ...


class Alive:
    """`line`: that of the relay; `vitals`: asked once a second; `timed`: the module has a timed pulse."""

    def __init__(self, at: Ref, line: Line, clock: Clock, vitals: Wellness, *, timed: bool) -> None:
        self._at = at
        self._line = line
        self._clock = clock
        self._vitals = vitals
        self._timed = timed

    async def run(self) -> None:
        """Hold it, or let it go, until cancelled. The end of the process writes nothing."""
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
