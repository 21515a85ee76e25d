"""Reset latched alarms: first the device itself, then wait for a fresh reading that shows the condition gone.

Many devices latch too, often until their supply drops; without resetting them the alarm would be raised again.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.model import Effect, Forget, Instant, Json, Operate, Reading, ReadNow, Remember
from gateway.site.alarms import Alarms, Watch
from gateway.site.ids import Ids
from gateway.site.settings import DeviceReset, DeviceSettings, Ref
from gateway.site.timers import Timers

PART = "reset"
_REREAD_FOR_S = 20.0
_REREAD_EVERY_S = 1.0
_ORDER_LIFE_S = 5.0
_MEMORY = "supply/"
"""`supply/DEVICE`: its supply was switched off and must be switched on again."""


class Ended(NamedTuple):
    """The result of a reset that somebody waits for."""

    token: str
    ok: bool
    message: str


@dataclass(slots=True)
class _Reset:
    watch: Watch
    token: str
    by: str
    since: float
    """Only a reading newer than this counts (monotonic seconds)."""
    until: float


class Resetting:
    """Resets under way, by the subjects of their alarms."""

    def __init__(
        self,
        devices: Mapping[str, DeviceSettings],
        alarms: Alarms,
        ids: Ids,
        timers: Timers,
        *,
        taken: Collection[Ref] = (),
    ) -> None:
        self._devices = devices
        self._alarms = alarms
        self._ids = ids
        self._timers = timers
        self._taken = taken
        """The outputs of gates, linkage and annunciator: a reset never writes them."""
        self._resets: dict[str, _Reset] = {}
        self._off: dict[str, str | None] = {}
        """Device whose supply is off -> the order that switches it on again."""
        self._ended: list[Ended] = []
        """Taken away by `site.py`."""

    def __contains__(self, subject: str) -> bool:
        return subject in self._resets

    def take_ended(self) -> list[Ended]:
        """Take the resets that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load which supplies are switched off."""
        self._off = {key.removeprefix(_MEMORY): None for key in memory if key.startswith(_MEMORY)}

    def start(self, now: Instant) -> Iterator[Effect]:
        """Switch every supply on again."""
        for device in tuple(self._off):
            yield from self._supply(device, now)

    def begin(self, watch: Watch, token: str, by: str, now: Instant) -> Iterator[Effect]:
        """Reset a latched alarm of a point. It is `Ended` within 20 s, after the device's supply is on again."""
        rule = watch.rule
        device = self._devices[rule.device]
        wait = 0.0
        if device.reset is not None and device.reset.at in self._taken:
            text = f"{device.reset.at}, which resets it, belongs to a gate, a linkage or the annunciator"
            self._ended.append(Ended(token, False, text))
            return
        if device.reset is not None:
            wait = device.reset.off or 0.0
            yield from self._device(device, device.reset, now)
        since = now.mono + wait
        self._resets[rule.subject] = _Reset(watch, token, by, since, since + _REREAD_FOR_S)
        if wait:
            self._timers.set((PART, rule.subject), since + _REREAD_EVERY_S)
        else:
            yield from self._look(rule.subject, now)

    def read(self, device: str, readings: Mapping[str, Reading], now: Instant) -> Iterator[Effect]:
        """Take an answer, after the alarms have judged it."""
        for subject, reset in tuple(self._resets.items()):
            rule = reset.watch.rule
            reading = readings.get(rule.point) if rule.device == device else None
            if reading is None or not rule.condition.judges(reading) or reading.at.mono <= reset.since:
                continue
            if reset.watch.standing is None:
                self._end(subject, ok=True)
            elif not rule.condition.holds(reading, standing=True):
                yield from self._alarms.reset(reset.watch, reset.by, now)
                self._end(subject, ok=True)

    def outcome(self, order: str, *, ok: bool, now: Instant) -> Iterator[Effect]:
        """Take the outcome of an order that switches a supply on."""
        for device, under_way in tuple(self._off.items()):
            if under_way == order and ok:
                del self._off[device]
                yield Forget(_MEMORY + device)
            elif under_way == order:
                self._timers.set((PART, _MEMORY + device), now.mono + _REREAD_EVERY_S)

    def tick(self, name: str, now: Instant) -> Iterator[Effect]:
        """Read again, give up, or switch a supply on again."""
        if name.startswith(_MEMORY):
            yield from self._supply(name.removeprefix(_MEMORY), now)
        elif name in self._resets:
            if now.mono >= self._resets[name].until:
                self._end(name, ok=False)
            else:
                yield from self._look(name, now)

    def _look(self, subject: str, now: Instant) -> Iterator[Effect]:
        reset = self._resets[subject]
        rule = reset.watch.rule
        self._timers.set((PART, subject), min(now.mono + _REREAD_EVERY_S, reset.until))
        yield ReadNow(rule.device, (rule.point,))

    def _device(self, device: DeviceSettings, how: DeviceReset, now: Instant) -> Iterator[Effect]:
        order = self._ids.order()
        if how.off is None:
            yield Operate(order, how.at.device, how.at.point, how.value, now.mono + _ORDER_LIFE_S)
        else:
            self._off[device.id] = None
            self._timers.set((PART, _MEMORY + device.id), now.mono + how.off)
            yield Remember(_MEMORY + device.id, True)
            yield Operate(order, how.at.device, how.at.point, False, now.mono + min(how.off, _ORDER_LIFE_S))

    def _supply(self, device: str, now: Instant) -> Iterator[Effect]:
        settings = self._devices.get(device)
        if settings is None or settings.reset is None or settings.reset.at in self._taken:
            self._off.pop(device, None)
            yield Forget(_MEMORY + device)
            return
        at: Ref = settings.reset.at
        order = self._off[device] = self._ids.order()
        self._timers.set((PART, _MEMORY + device), now.mono + _ORDER_LIFE_S)
        yield Operate(order, at.device, at.point, True, None, at_once=True)

    def _end(self, subject: str, *, ok: bool) -> None:
        reset = self._resets.pop(subject)
        self._timers.drop((PART, subject))
        message = "" if ok else "no good reading within 20 s shows the condition gone"
        self._ended.append(Ended(reset.token, ok, message))
