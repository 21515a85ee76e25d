"""The writes of one line: ahead of all else, and tried again until they expire.

Whether a write was done is decided by the point and not by the reply: where that is wrong, short or missing, or a
refusal, the point is read back at once. So what follows from it (the end of a pulse) is reckoned from the write.

A write never waits for a device that is not answering: a request to one that is silent, or has just missed a read,
gives way to it (`PolledDevice.haste`), and so does a request that waits because the line is left alone after a
time-out.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from gateway.clock import Clock
from gateway.driver import Decoded
from gateway.errors import ConfigError, DeviceError, DeviceRefused, DeviceSilent, GaveWay, LineDown
from gateway.field.device import PolledDevice
from gateway.field.driver_guard import GuardedPoller
from gateway.field.schedule import Schedule
from gateway.model import Lane, Quality, Reading, Value

_RETRY_FIRST_S, _RETRY_LAST_S = 0.25, 2.0
"""Between a write that had no answer and the next try: doubled for each, from the first to the last."""
_REPLY_S = 0.15
"""The shortest time that a reply to a write is waited for before the point is read back."""


Waiting = asyncio.Future[float] | asyncio.Future[Mapping[str, Reading]]


@dataclass(slots=True, eq=False)
class WriteOrder:
    """A write. Tried again while the device is silent, until it expires."""

    device: str
    point: str
    value: Value
    expires: float | None
    done: asyncio.Future[float]
    """When the write that did it went out (monotonic seconds)."""
    tries: int = 0


class Writes:
    """What is written on one line."""

    def __init__(self, poller: GuardedPoller, schedule: Schedule, clock: Clock) -> None:
        self._poller = poller
        self._schedule = schedule
        self._clock = clock
        self._asked: PolledDevice | None = None
        """The device of the last request: on a line with one request at a time that is the one under way. None: it does
        not give way to a write."""
        self._cut_until = 0.0
        """Until then an answer may come that is not waited for any more (monotonic seconds)."""

    def line_up(self, order: WriteOrder, now: float, due: float | None = None) -> None:
        """From `due` on (None: now) it goes before all reads; what is in its way then gives way.

        Also before confirm reads that came earlier: they would wait for a late answer, and it would wait behind them.
        """
        self._schedule.request(order, Lane.ORDER, now, due=due, within=-inf)
        if due is not None and due > now:
            asyncio.get_running_loop().call_later(due - now, self._make_way, order)
        else:
            self._make_way(order)

    def asked(self, device: PolledDevice) -> None:
        """A read of this device is under way from now on."""
        self._asked = device

    def cut(self, device: PolledDevice, now: float) -> None:
        """A request to this device had been sent when it gave way."""
        device.cuts += 1
        self._cut_until = now + device.patience()

    async def write(self, order: WriteOrder, device: PolledDevice, now: float) -> float | None:
        """Its turn has come. Returns when it went out (monotonic seconds) if the device answered, else None.

        Where it failed for good, `order.done` has the error. Raises LineDown.
        """
        if order.done.done():
            return None
        if order.expires is not None and now >= order.expires:
            fail(order.done, DeviceSilent("the order expired before the device took it"))
            return None
        if device.silent and now < device.quiet_until:
            self.line_up(order, now, device.quiet_until)
            return None
        self._asked = device if device.silent else None  # a living one may be slow to do it: it is not asked twice
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
        """Whether the point reads as it was ordered, whatever the reply was. Raises LineDown.

        A pulse that the module makes itself (a float) may be over: only that it is on says something.
        """
        if device.silent:
            return False  # nothing was heard of it for long: it is given again
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
        """It is well, and gave neither a reply nor a reading: it may be busy with the write as long as it may ever."""
        try:
            shown = await self._poller.read_back(device.name, order.point, device.patience())
        except DeviceError:
            return None
        device.writes_slowly = True
        return shown

    def _retry(self, order: WriteOrder, error: DeviceSilent, began: float, now: float) -> None:
        """No answer. At once if the late one of another device may have been in its way, else after a while."""
        due = now + max(now - began, min(_RETRY_FIRST_S * (1 << min(order.tries, 8)), _RETRY_LAST_S))
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
    """Whoever waits gets this error, unless nobody waits any more."""
    if not future.done():
        future.set_exception(error)


@contextmanager
def answerable(future: Waiting) -> Iterator[None]:
    """Whoever waits is told when the line is lost, or closed, under the request."""
    try:
        yield
    except LineDown as error:
        fail(future, error)
        raise
    except asyncio.CancelledError:
        fail(future, LineDown("the line was closed"))
        raise
