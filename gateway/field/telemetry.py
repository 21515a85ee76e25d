"""Sends changed readings, one device a message: at most one message per device and 200 ms, no task per device.

An error loses only that message: telemetry never ends the process or the line that the readings came from.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from gateway.clock import Clock
from gateway.field.telemetry_changes import TelemetryChanges
from gateway.log import logger
from gateway.model import Instant, Reading

_log = logger(__name__)

Publish = Callable[[str, bool, Mapping[str, Reading], Instant], None]
"""Takes (device, full, readings, at). Must not block. A function, as a line knows neither journal nor event."""

_GOLDEN = 0.6180339887498949
"""The fractional parts of its multiples are evenly spread over [0, 1), however many there are."""


class LatestReadings(Protocol):
    """The readings of a device."""

    def picture(self) -> Mapping[str, Reading]:
        """All readings."""
        ...


class _DeviceChanges:
    """One device and its two timers."""

    __slots__ = ("changes", "device", "flush", "full", "share", "table")

    def __init__(self, device: str, table: LatestReadings, changes: TelemetryChanges, share: float) -> None:
        self.device = device
        self.table = table
        self.changes = changes
        self.share = share
        self.flush: asyncio.TimerHandle | None = None
        self.full: asyncio.TimerHandle | None = None


class TelemetrySender:
    """Entered before the lines run and left after them; leaving sends what waits.

    `every`: seconds between full pictures of a device, spread over the devices. `deadbands`: per device and point.
    """

    def __init__(
        self,
        publish: Publish,
        clock: Clock,
        *,
        every: float,
        deadbands: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._every = every
        self._deadbands = deadbands or {}
        self._outlets: dict[str, _DeviceChanges] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: set[str] = set()
        self.failures = 0
        """Messages lost because of a bug of ours."""

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        for outlet in self._outlets.values():
            for timer in (outlet.flush, outlet.full):
                if timer is not None:
                    timer.cancel()
            if outlet.changes.waiting:
                self._send(outlet)
        self._outlets.clear()

    def add(self, device: str, table: LatestReadings) -> None:
        """Register a device; `table` has all its readings."""
        share = len(self._outlets) * _GOLDEN % 1.0
        self._outlets[device] = _DeviceChanges(device, table, TelemetryChanges(self._deadbands.get(device, {})), share)

    def ready(self, device: str) -> None:
        """Every block of the device was answered or has failed once: send its first message, a full one."""
        outlet = self._outlets[device]
        if outlet.changes.started or self._loop is None:
            return
        self._send_full(outlet)
        self._arm_full(outlet, self._every * (1.0 - outlet.share))

    def changed(self, device: str, readings: Mapping[str, Reading]) -> None:
        """Take changed readings: the first change is sent before this returns, others within 200 ms."""
        outlet = self._outlets[device]
        if not outlet.changes.offer(readings) or outlet.flush is not None or self._loop is None:
            return
        wait = outlet.changes.due() - self._clock.now().mono
        if wait <= 0.0:
            self._send(outlet)
        else:
            outlet.flush = self._loop.call_later(wait, self._send, outlet)

    def _send(self, outlet: _DeviceChanges) -> None:
        outlet.flush = None
        at = self._clock.now()
        self._tell(outlet.device, False, outlet.changes.take(at.mono), at)

    def _send_full(self, outlet: _DeviceChanges) -> None:
        if outlet.flush is not None:
            outlet.flush.cancel()
            outlet.flush = None
        at = self._clock.now()
        self._tell(outlet.device, True, outlet.changes.full(outlet.table.picture(), at.mono), at)

    def _tell(self, device: str, full: bool, readings: Mapping[str, Reading], at: Instant) -> None:
        try:
            self._publish(device, full, readings, at)
        except Exception:  # noqa: BLE001 - any error: alarms and other devices must continue
            self.failures += 1
            if device not in self._told:
                self._told.add(device)
                _log.exception("telemetry of a device cannot be told", device=device)

    def _arm_full(self, outlet: _DeviceChanges, wait: float) -> None:
        if self._loop is not None:
            outlet.full = self._loop.call_later(wait, self._full, outlet)

    def _full(self, outlet: _DeviceChanges) -> None:
        self._arm_full(outlet, self._every)
        self._send_full(outlet)
