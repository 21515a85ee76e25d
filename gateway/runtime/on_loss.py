"""`on_loss: open`: sets modules up to switch an output when this gateway falls silent, and checks that they stay so.

Some modules forget their settings when they lose power. So the settings are read when the device first answers or
answers again, soon after its connection was reopened, and at intervals. Only wrong settings are written, because the
memory behind such registers wears out. The safe value is written before the watchdog, because a watchdog with the wrong
safe value would do harm.
"""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.backoff import BackOff
from gateway.clock import Clock
from gateway.driver import SiteInbox
from gateway.errors import ConfigError, DeviceRefused, GatewayError
from gateway.field.lines import Line
from gateway.log import logger
from gateway.model import OwnHealth, Reading, Value
from gateway.settings.types import OnLoss, safe_name, watchdog_name
from gateway.site.settings import ON_LOSS

_log = logger(__name__)

_LOOK_EVERY_S = 1.0
"""Not at once, so that holds known at the start, or waiting for a device, are written first."""
_RETRY_S = 60.0
_REOPENED_S = 3.0
"""Delay after the other side closed the connection and it was reopened at once: a restarting module does that, and so
does a serial server that closes after each answer."""
_TROUBLED_S, _TROUBLED_LAST_S = 10.0, 3600.0
"""Written again after this time, doubled each time, so that a register that does not take the value is not worn out."""


def wanted(one: OnLoss) -> Mapping[str, Value]:
    """The value that each setting of this output should have, in the order of writing."""
    return {safe_name(one.output.point): one.safe, watchdog_name(one.output.point): one.watchdog}


def amiss(one: OnLoss, read: Mapping[str, Reading]) -> Mapping[str, Value]:
    """The settings with a wrong value, in the order of writing."""
    return {name: value for name, value in wanted(one).items() if read[name].value != value}


class Losses:
    """The outputs of one line."""

    def __init__(self, outputs: Sequence[OnLoss], line: Line, clock: Clock, inbox: SiteInbox) -> None:
        self._outputs = outputs
        self._line = line
        self._clock = clock
        self._inbox = inbox
        self._due: dict[str, float] = {}
        """Gate -> when it is checked again (monotonic seconds); absent: at once."""
        self._waits: dict[str, BackOff] = {}
        """Gate with trouble -> its back-off."""
        self._well: dict[str, bool] = {}
        self._seen = 0
        """How often the line was lost."""
        self._reopened: object = 0
        """How often its connection was reopened without a loss."""

    async def run(self) -> None:
        """Check them until cancelled. Nothing is written at the end of the process."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            status = self._line.snapshot()
            if status.losses != self._seen:
                self._seen = status.losses
                self._due.clear()
            reopened = (status.oddities or {}).get("reopened", 0)
            if reopened != self._reopened:
                self._reopened = reopened
                self._look_soon()
            for one in self._outputs:
                device = status.devices.get(one.output.device)
                if not status.up or device is None or not device.answering:
                    self._due.pop(one.gate, None)
                elif self._clock.now().mono >= self._due.get(one.gate, 0.0):
                    await self._look_after(one)

    def _look_soon(self) -> None:
        soon = self._clock.now().mono + _REOPENED_S
        for gate, due in self._due.items():
            if gate not in self._waits:
                self._due[gate] = min(due, soon)

    async def _look_after(self, one: OnLoss) -> None:
        try:
            trouble = await self._settle(one)
        except (ConfigError, DeviceRefused) as error:
            trouble = f"{one.output.device} does not take it: {error}"
        except GatewayError:
            return  # silent or lost: other alarms report that, and it is checked when it is back
        if trouble:
            wait = self._waits.setdefault(one.gate, BackOff(_TROUBLED_S, _TROUBLED_LAST_S)).next()
        else:
            self._waits.pop(one.gate, None)
            wait = _RETRY_S
        now = self._clock.now()
        self._due[one.gate] = now.mono + wait
        if self._well.get(one.gate) is not (well := not trouble):
            self._well[one.gate] = well
            self._inbox.remind(OwnHealth(f"{one.gate}/{ON_LOSS}", well, trouble, now))
            if trouble:
                _log.warning("a gate would not open if this gateway fell silent", gate=one.gate, why=trouble)

    async def _settle(self, one: OnLoss) -> str:
        """Write wrong settings; returns what is still wrong afterwards. Raises DeviceError, LineDown."""
        device = one.output.device
        wrong = amiss(one, await self._line.fetch(device, tuple(wanted(one))))
        if not wrong:
            return ""
        for name, value in wrong.items():
            await self._line.order(device, name, value)
        wrong = amiss(one, await self._line.fetch(device, tuple(wanted(one))))
        if wrong:
            return f"{device} does not keep {' and '.join(wrong)}"
        _log.info(
            "module told to open when this gateway falls silent",
            gate=one.gate,
            output=".".join(one.output),
            after=one.after,
        )
        return ""
