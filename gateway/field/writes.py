"""The writes of one line: they go first, and are repeated until they expire.

The value of the point decides whether a write was done, not the reply: if the reply is wrong, short, missing or a
refusal, the point is read back at once. What follows (the end of a pulse) is timed from the write itself.

A write never waits for a device that is not answering: a request to a device that is silent, or has just missed a read,
gives way (`PolledDevice.haste`), and so does a request that waits for the quiet time after a time-out.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from gateway.backoff import doubled
from gateway.clock import Clock
from gateway.driver import Decoded
from gateway.errors import ConfigError, DeviceError, DeviceRefused, DeviceSilent, GaveWay, LineDown
from gateway.field.device import PolledDevice
from gateway.field.driver_guard import GuardedPoller
from gateway.field.readings import Fetched
from gateway.field.schedule import Schedule
from gateway.model import Lane, Quality, Value

_RETRY_FIRST_S, _RETRY_LAST_S = 0.25, 2.0
"""The pause between an unanswered write and the next try: doubles from the first to the last value."""
_REPLY_S = 0.15
"""The shortest wait for the reply to a write before the point is read back."""


Waiting = asyncio.Future[float] | asyncio.Future[Fetched]


@dataclass(slots=True, eq=False)
class WriteOrder:
    """A write. Tried again while the device is silent, until it expires."""

    device: str
    point: str
    value: Value
    expires: float | None
    done: asyncio.Future[float]
    """When the successful write was sent (monotonic seconds)."""
    tries: int = 0


class Writes:
    """The writes of one line."""

    def __init__(self, poller: GuardedPoller, schedule: Schedule, clock: Clock) -> None:
        self._poller = poller
        self._schedule = schedule
        self._clock = clock
        self._asked: PolledDevice | None = None
        """The device of the last request; with one request at a time that is the one under way. None: it does not give
        way to a write."""
        self._cut_until = 0.0
        """Until then an answer may come for which nobody waits any more (monotonic seconds)."""

    def line_up(self, order: WriteOrder, now: float, due: float | None = None) -> None:
        """Schedule a write from `due` on (None: now), ahead of all reads; a request that blocks it gives way.

        It also goes before earlier confirm reads, because those may wait for a late answer.
        """
        self._schedule.request(order, Lane.ORDER, now, due=due, within=-inf)
        if due is not None and due > now:
            asyncio.get_running_loop().call_later(due - now, self._make_way, order)
        else:
            self._make_way(order)

    def asked(self, device: PolledDevice) -> None:
        """Note that a read of this device is under way."""
        self._asked = device

    def cut(self, device: PolledDevice, now: float) -> None:
        """Note that a request to this device gave way after it was sent."""
        device.cuts += 1
        self._cut_until = now + device.patience()

    async def write(self, order: WriteOrder, device: PolledDevice, now: float) -> float | None:
        """Write now. Returns when it was sent (monotonic seconds) if the device answered, else None.

        If it failed finally, `order.done` has the error. Raises LineDown.
        """
        if order.done.done():
            return None
        if order.expires is not None and now >= order.expires:
            fail(order.done, DeviceSilent("the order expired before the device took it"))
            return None
        if device.silent and now < device.quiet_until:
            self.line_up(order, now, device.quiet_until)
            return None
        self._asked = device if device.silent else None  # a device that answers may just be slow
        reply = device.patience() if device.silent or not device.heard else device.reply(_REPLY_S)
        with answerable(order.done):
            try:
                await self._poller.write(device.name, order.point, order.value, reply)
                sent = self._clock.now().mono - self._poller.latency
            except GaveWay as error:
                at = self._clock.now().mono
                if error.sent:
                    self.cut(device, at)
                self.line_up(order, at)
                return None
            except DeviceSilent as error:
                sent = self._clock.now().mono - reply
                if not await self._was_done(order, device):
                    at = self._clock.now().mono
                    device.waited_for()
                    device.spare(now, at)
                    self._retry(order, error, now, at)
                    return None
            except DeviceRefused as error:
                sent = self._clock.now().mono - self._poller.latency
                if not await self._was_done(order, device):
                    fail(order.done, error)
            except ConfigError as error:
                fail(order.done, error)
                return None
        return sent

    async def _was_done(self, order: WriteOrder, device: PolledDevice) -> bool:
        """True if the point has the ordered value, whatever the reply was. Raises LineDown.

        A pulse timed by the module itself (a float) may have ended, so only the reading "on" is conclusive.
        """
        if device.silent:
            return False  # the device is silent: the write is repeated
        wanted = True if isinstance(order.value, float) and order.value > 0 else order.value
        device.requests += 1
        reply = device.reply(_REPLY_S)
        try:
            shown = await self._poller.read_back(device.name, order.point, reply)
        except DeviceSilent:
            if device.misses or device.writes_slowly:
                return False
            shown = await self._read_back_patiently(order, device)
        except DeviceError:
            return False
        return shown is not None and shown.quality is Quality.GOOD and wanted in (shown.value, shown.text)

    async def _read_back_patiently(self, order: WriteOrder, device: PolledDevice) -> Decoded | None:
        """Read once more, with the longest time-out, because a device that answers gave neither reply nor reading."""
        try:
            shown = await self._poller.read_back(device.name, order.point, device.patience())
        except DeviceError:
            return None
        device.writes_slowly = True
        return shown

    def _retry(self, order: WriteOrder, error: DeviceSilent, began: float, now: float) -> None:
        """Repeat an unanswered write: at once if another device's late answer may have disturbed it, else later."""
        due = now + max(now - began, doubled(_RETRY_FIRST_S, order.tries, _RETRY_LAST_S))
        if began < self._cut_until and not order.tries:
            due = now
        order.tries += 1
        if order.expires is None or due >= order.expires:
            fail(order.done, error)
        else:
            self.line_up(order, now, due)

    def _make_way(self, order: WriteOrder) -> None:
        asked = self._asked
        if asked is not None and not order.done.done():
            self._poller.give_way(None if asked.name == order.device else asked.haste)


def fail(future: Waiting, error: Exception) -> None:
    """Pass this error to the caller, if it still waits."""
    if not future.done():
        future.set_exception(error)


@contextmanager
def answerable(future: Waiting) -> Iterator[None]:
    """Passes an error to the caller if the line is lost or closed during the request."""
    try:
        yield
    except LineDown as error:
        fail(future, error)
        raise
    except asyncio.CancelledError:
        fail(future, LineDown("the line was closed"))
        raise
