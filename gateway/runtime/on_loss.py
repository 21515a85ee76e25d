"""What an output does when this gateway falls silent (`on_loss: open`): its module is told, and looked after.

A module keeps its settings, or forgets them with its power. So they are read when its device has come, or come back,
soon after its connection was closed and opened again, and now and then; only what is not as it should be is written,
the safe value before the watchdog: a watchdog that runs with the wrong safe value would do harm, and the memory behind
such registers wears out.
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
"""Holds that are known at the start, or wait for a device, go before."""
_RETRY_S = 60.0
_REOPENED_S = 3.0
"""After a connection that the other side closed and that was open again at once: a module that restarts does that,
and so does a serial server that closes after each answer."""
_TROUBLED_S, _TROUBLED_LAST_S = 10.0, 3600.0
"""Told again after that, each time twice as long: a register that takes nothing is not worn out."""


def wanted(one: OnLoss) -> Mapping[str, Value]:
    """What each setting of this output is to hold, in the order of writing."""
    return {safe_name(one.output.point): one.safe, watchdog_name(one.output.point): one.watchdog}


def amiss(one: OnLoss, read: Mapping[str, Reading]) -> Mapping[str, Value]:
    """The settings that do not hold what they should, in the order of writing."""
    return {name: value for name, value in wanted(one).items() if read[name].value != value}


class Losses:
    """The outputs of one line."""

    def __init__(self, outputs: Sequence[OnLoss], line: Line, clock: Clock, inbox: SiteInbox) -> None:
        self._outputs = outputs
        self._line = line
        self._clock = clock
        self._inbox = inbox
        self._due: dict[str, float] = {}
        """By gate, when it is looked at again; absent: at once (monotonic seconds)."""
        self._waits: dict[str, BackOff] = {}
        """By gate that is in trouble, how long the last wait was."""
        self._well: dict[str, bool] = {}
        self._seen = 0
        """Losses of the line."""
        self._reopened: object = 0
        """How often its connection was opened again without a loss."""

    async def run(self) -> None:
        """Look after them until cancelled. The end of the process writes nothing."""
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
            return  # silent or lost: other alarms say so, and it is looked at when it is back
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
        """Make the module know; what is wrong if it still does not. Raises DeviceError, LineDown."""
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
