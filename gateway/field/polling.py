"""One turn on the line: send a request, update the state of the devices, and report changes to the gateway.

`schedule.py` decides when; `writes.py` does the writes.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.clock import Clock
from gateway.driver import Block, InputInbox
from gateway.errors import DeviceError, DeviceRefused, GaveWay, LineDown
from gateway.field import timeouts
from gateway.field.device import NARROW, PolledDevice
from gateway.field.driver_guard import GuardedPoller
from gateway.field.readings import STALE_AFTER_PERIODS, Fetched
from gateway.field.schedule import Job, Schedule
from gateway.field.telemetry import TelemetrySender
from gateway.field.writes import Waiting, WriteOrder, Writes, answerable, fail
from gateway.log import logger
from gateway.model import (
    Answer,
    DeviceBlind,
    DeviceHealth,
    Instant,
    Lane,
    Quality,
    Reading,
    Reason,
    Value,
)

_log = logger(__name__)

_TARGET_SILENT = (10, 11)
"""Exceptions with which a converter reports that the device does not answer."""
_REOPEN_AFTER_S = 10.0
"""A connection on which every device is silent is reopened this long after it was opened."""
_SWEEP_AGAIN_S = 0.05
"""The shortest pause between two checks for old readings."""
_MOST_FETCHES = 64
"""The most callers that may wait for reads of one line."""


@dataclass(slots=True, eq=False)
class Fetch:
    """A read for a waiting caller."""

    block: Block
    done: asyncio.Future[Fetched]


@dataclass(slots=True, eq=False)
class Confirm:
    """A read whose answer goes to the site even if unchanged."""

    block: Block
    asked: float
    """When it was requested, monotonic seconds."""


class Reopen(Exception):
    """No device of this line answers any more, so the connection itself may be dead."""


class LineOwner(Protocol):
    """The object that opened the line."""

    async def came_up(self, at: Instant) -> None:
        """Called at the first answer since the line was opened, before anything else of that answer is reported."""
        ...


class Polling:
    """Does the jobs of one line and holds the state of its devices.

    `watched`: per device, the points that the site needs. `may_hang`: see `Line`.
    """

    def __init__(
        self,
        line: str,
        poller: GuardedPoller,
        *,
        watched: Mapping[str, frozenset[str]],
        inbox: InputInbox,
        owner: LineOwner,
        telemetry: TelemetrySender,
        clock: Clock,
        may_hang: bool,
    ) -> None:
        self.line = line
        self.poller = poller
        self.devices: dict[str, PolledDevice] = {}
        self.opened = 0.0
        """When the line was last opened (monotonic seconds)."""
        self.answered = False
        """True if anything on the line has answered since it was opened."""
        self._is_open = False
        self.schedule = Schedule((), 0.0, life=timeouts.DEVICE_PERIOD_S)
        self.shortest = timeouts.DEVICE_PERIOD_S
        """The shortest period on this line, in seconds."""
        self._watched = watched
        self._inbox = inbox
        self._owner = owner
        self._telemetry = telemetry
        self._clock = clock
        self._may_hang = may_hang
        self._fetching = 0
        self._confirming: set[tuple[str, tuple[str, ...]]] = set()
        self._writes = Writes(poller, self.schedule, clock)
        self._telling = asyncio.Lock()
        """Keeps reports in the order of the changes, even if the inbox makes the first one wait."""

    def learn(self, at: Instant) -> None:
        """Load the blocks of the poller. Raises DriverBug."""
        blocks = self.poller.blocks()
        by_device: dict[str, list[Block]] = {}
        for block in blocks:
            by_device.setdefault(block.device, []).append(block)
        for name, mine in by_device.items():
            self._add_device(name, mine, at)
        self.schedule.plan(blocks, at.mono)
        self.shortest = min((block.every for block in blocks), default=timeouts.DEVICE_PERIOD_S)

    def begin(self, at: Instant) -> None:
        """The line has been opened: all devices are due at once, and misses count from zero."""
        self.opened = at.mono
        self._is_open, self.answered = True, False
        for device in self.devices.values():
            device.forget(at.mono)
        self.schedule.restart(at.mono)

    def pause(self) -> None:
        """The connection was lost and is being reopened: meanwhile it is unknown whether a device answers."""
        self._is_open = self.answered = False

    async def lose(self, at: Instant) -> None:
        """The line is down: every point of every device becomes BAD."""
        self.pause()
        for device in tuple(self.devices.values()):
            device.forget(at.mono)
            await self._tell(device, device.table.lost(Reason.LINE_DOWN, at), at)

    async def sweep(self, at: Instant) -> float:
        """Set points BAD that were not refreshed. Returns when to check again (monotonic seconds)."""
        again = at.mono + STALE_AFTER_PERIODS * self.shortest
        for device in tuple(self.devices.values()):
            await self._tell(device, device.table.stale(at), at)
            await self._tell_sight(device, at, line_up=self._is_open)
            again = min(again, device.table.stale_at(), device.sight.due())
        return max(again, at.mono + _SWEEP_AGAIN_S)

    async def do(self, job: Job, now: float) -> float:
        """Do one job; returns the time when it ended. Raises LineDown, Reopen."""
        block = job.block
        if block is None:
            return await self._do_request(job.item, now)
        device = self.devices[block.device]
        device.requests += 1
        self._writes.asked(device)
        try:
            raw = await self.poller.read(block, device.wait(block))
        except DeviceError as error:
            at = self._clock.now()
            if isinstance(error, GaveWay) and not (error.sent and device.tried and not device.silent):
                self._gave_way(device, job, block, error, at.mono)
            elif isinstance(error, DeviceRefused) and error.code not in _TARGET_SILENT:
                await self._refused(device, job, block, error, at)
            else:
                device.code = getattr(error, "code", None)
                if device.code is not None:
                    await self._lives(at)
                await self._missed(device, job, block, at)
            return self._clock.now().mono
        at = self._clock.now()
        device.time.sample(self.poller.latency)
        if device.misses or not device.heard:
            await self._heard(device, at)
        ended = at.mono
        if not device.table.same(block, raw, at) or device.owed:
            decoded = self.poller.decode(block, raw)
            asked = {point: Reading(*decoded[point], at) for point in device.pay(block.points)}
            await self._tell(device, device.table.answered(block, raw, decoded, at), at, asked)
            ended = self._clock.now().mono
        device.overruns += self.schedule.done(job, at.mono)
        if device.barred and block in device.barred:
            self._reunite(device, block, at)
        if device.sight.told is not False:
            await self._tell_sight(device, at, line_up=True)
        return ended

    def confirm(self, device: str, points: tuple[str, ...], now: float) -> None:
        """Read these points ahead of all else; the site gets them even if unchanged. Raises DriverBug."""
        self._device(device)
        for block in self._blocks_for(device, points, Lane.ORDER):
            key = (device, block.points)
            if key not in self._confirming:
                self._confirming.add(key)
                self.schedule.request(Confirm(block, now), Lane.ORDER, now)

    async def fetch(self, device: str, points: tuple[str, ...] | None, now: float) -> Fetched:
        """Read these points (None: all) for a waiting caller. Raises DeviceError, LineDown.

        The reads go first in the normal lane, so they never delay an alarm. If some of several requests are refused,
        their points are BAD.
        """
        if self._fetching >= _MOST_FETCHES:
            raise DeviceError("too many reads wait for this line")
        state = self._device(device)
        blocks = self.schedule.blocks(device) if points is None else self._blocks_for(device, points, Lane.NORMAL)
        loop = asyncio.get_running_loop()
        fetches = [Fetch(block, loop.create_future()) for block in blocks]
        for fetch in fetches:
            self.schedule.request(fetch, Lane.NORMAL, now)
        fetched = Fetched({}, {})
        refusals: list[DeviceRefused] = []
        self._fetching += 1
        try:
            for fetch in fetches:
                try:
                    one = await fetch.done
                    fetched.readings.update(one.readings)
                    fetched.registers.update(one.registers)
                except DeviceRefused as error:
                    refusals.append(error)
        finally:
            self._fetching -= 1
            for fetch in fetches:
                drop(fetch.done)
        if refusals and len(refusals) == len(fetches):
            raise refusals[0]
        at = self._clock.now()
        for point in {point for fetch in fetches for point in fetch.block.points} - fetched.readings.keys():
            fetched.readings[point] = Reading(None, None, state.table.unit(point), Quality.BAD, Reason.REFUSED, at)
        return fetched

    def latest(self, device: str, points: Collection[str], since: float) -> Fetched | None:
        """Readings by periodic reads since then (monotonic seconds), if they include all of these points."""
        table = self.devices[device].table
        answers = table.answers_since(points, since)
        if answers is None:
            return None
        picture, registers = table.picture(), dict[str, int | str]()
        for block, raw in answers.items():
            registers.update(self.poller.registers(block, raw))
        return Fetched({point: picture[point] for point in points}, registers)

    async def order(self, device: str, point: str, value: Value, expires: float | None, now: float) -> float:
        """Write ahead of everything else; returns when it was sent. Raises DeviceError (also if expired), LineDown."""
        self._device(device)
        order = WriteOrder(device, point, value, expires, asyncio.get_running_loop().create_future())
        self._writes.line_up(order, now)
        return await order.done

    def refuse(self, error: LineDown) -> None:
        """The line is lost: fail all single requests with this error."""
        self._confirming.clear()
        for item in self.schedule.take_requests():
            if isinstance(item, WriteOrder | Fetch):
                fail(item.done, error)

    def _gave_way(self, device: PolledDevice, job: Job, block: Block, error: GaveWay, now: float) -> None:
        """The read gave way to a write, which is neither a miss nor an answer. If it was not sent it keeps its turn."""
        if not error.sent:
            device.requests -= 1
            self.schedule.again(job)
            return
        self.schedule.unanswered()
        self._writes.cut(device, now)
        if device.silent:
            self.schedule.probe_next(job, now, device.probe.next(device.wait(block)))
        else:
            self.schedule.done(job, now, min(block.every, timeouts.MISSED_AGAIN_S))

    async def _missed(self, device: PolledDevice, job: Job, block: Block, at: Instant) -> None:
        """A periodic read or a probe had no answer."""
        self.schedule.unanswered()
        device.timeouts += 1
        device.waited_for()
        now = at.mono
        if job.gone:
            return
        if device.silent:
            self.schedule.probe_next(job, now, device.probe.next(device.wait(block)))
            if self._may_hang and now - self.opened >= _REOPEN_AFTER_S and self._nobody_answers():
                raise Reopen
            return
        device.table.missed(block)
        if device.miss(block):
            await self._fell_silent(device, block, at)
            return
        self.schedule.done(job, now, timeouts.MISSED_AGAIN_S if block.every > timeouts.MISSED_AGAIN_S else None)
        if not device.heard:
            # The device may not exist: its other blocks must not delay the first reads of devices that answer.
            self.schedule.postpone(device.name, now, timeouts.MISSED_AGAIN_S)
        else:
            self._call_witness(device, now)
        await self._tell(device, {}, at)

    def _call_witness(self, device: PolledDevice, now: float) -> None:
        witness = device.witness(self.schedule.blocks(device.name))
        if witness is not None:
            self.schedule.hasten(witness, now)

    async def _fell_silent(self, device: PolledDevice, block: Block, at: Instant) -> None:
        self.schedule.silence(device.name, at.mono, device.fall_silent(block))
        await self._tell(device, device.table.lost(Reason.SILENT, at), at)
        await self._tell_silent(device, at)

    async def _heard(self, device: PolledDevice, at: Instant) -> None:
        """The device answers (again)."""
        await self._lives(at)
        device.heard = True
        self._shows_life(device, at)
        await self._tell_answering(device, at)

    async def _lives(self, at: Instant) -> None:
        """Something on the line answers, so the line is up; this is reported before anything else."""
        if not self.answered:
            self.answered = True
            await self._owner.came_up(at)

    def _shows_life(self, device: PolledDevice, at: Instant) -> None:
        device.returned = at.mono
        device.misses = device.cuts = 0
        device.probe.reset()
        if device.silent:
            device.silent = False
            self.schedule.restore(device.name, at.mono)

    async def _refused(self, device: PolledDevice, job: Job, block: Block, error: DeviceRefused, at: Instant) -> None:
        """An exception response: the device is there but refuses this block. Only an answer ends a reported silence."""
        await self._lives(at)
        device.refused += 1
        device.code = error.code
        if device.answering is not False:
            device.heard = True
            await self._tell_answering(device, at)
        if device.misses or device.silent or device.table.answers(block):
            self._shows_life(device, at)
        if job.gone:
            return
        if error.code in NARROW and (parts := self._split(device, block, at)):
            _log.info("block split", line=self.line, device=device.name, code=error.code, parts=parts)
            return
        device.overruns += self.schedule.done(job, at.mono, device.ask_again(block, error.code, at.mono))
        await self._tell(device, device.table.failed(block, Reason.REFUSED, at), at)
        await self._tell_sight(device, at, line_up=True)

    def _split(self, device: PolledDevice, block: Block, at: Instant) -> int:
        """Replace a refused block by smaller ones, and remember that. Returns how many; 0: there are none."""
        parts = self.poller.narrow(block)
        if parts:
            self.schedule.replace(block, parts, at.mono)
            device.table.replace(block, parts)
        return len(parts)

    def _reunite(self, device: PolledDevice, block: Block, at: Instant) -> None:
        """Once one previously refused block is answered, ask the device for all of them whole again.

        Otherwise a device that refused only while starting would be read point by point forever.
        """
        was_narrow = device.barred.pop(block) in NARROW
        for other in device.barred:
            self.schedule.hasten(other, at.mono)
        if not was_narrow:
            return
        device.barred.clear()
        if list(self.schedule.blocks(device.name)) != list(device.blocks):
            self.schedule.renew(device.name, device.blocks, at.mono)
            device.table.renew(device.blocks)

    def _nobody_answers(self) -> bool:
        return all(device.silent for device in self.devices.values() if self.schedule.blocks(device.name))

    async def _do_request(self, item: object, now: float) -> float:
        match item:
            case WriteOrder():
                await self._write(item, now)
            case Fetch():
                await self._fetch(item, now)
            case Confirm():
                await self._confirm(item, now)
        return self._clock.now().mono

    async def _write(self, order: WriteOrder, now: float) -> None:
        device = self.devices[order.device]
        sent = await self._writes.write(order, device, now)
        if sent is None:
            return
        await self._heard(device, self._clock.now())
        if not order.done.done():
            order.done.set_result(max(now, sent))

    async def _fetch(self, fetch: Fetch, now: float) -> None:
        if fetch.done.done():
            return
        with answerable(fetch.done):
            try:
                raw, readings = await self._read_once(fetch.block, now, asked=False)
            except GaveWay:
                self.schedule.request(fetch, Lane.NORMAL, now)
                return
            except DeviceError as error:
                fail(fetch.done, error)
                return
            if not fetch.done.done():
                fetch.done.set_result(Fetched(readings, dict(self.poller.registers(fetch.block, raw))))

    async def _confirm(self, confirm: Confirm, now: float) -> None:
        device = self.devices[confirm.block.device]
        if device.silent and now < device.quiet_until:
            self.schedule.request(confirm, Lane.ORDER, now, due=device.quiet_until)
            return
        self._confirming.discard((device.name, confirm.block.points))
        if device.silent and confirm.asked < device.since:
            return  # it fell silent meanwhile; its value is reported when it returns
        try:
            await self._read_once(confirm.block, now, asked=True)
        except GaveWay as error:
            self._confirm_again(confirm, error)
        except DeviceRefused:
            self._confirm_by_period(device, confirm.block)
        except DeviceError:
            await self._confirm_missed(device, confirm.block)

    def _confirm_again(self, confirm: Confirm, error: GaveWay) -> None:
        """A confirm read gave way to a write: repeat it right afterwards or, if sent, with the next periodic read."""
        device = self.devices[confirm.block.device]
        if not error.sent:
            self._confirming.add((device.name, confirm.block.points))
            self.schedule.request(confirm, Lane.ORDER, self._clock.now().mono)
        elif not device.silent:
            self._confirm_by_period(device, confirm.block)

    async def _confirm_missed(self, device: PolledDevice, block: Block) -> None:
        """A failed confirm read neither confirms nor resets; it counts as an ordinary miss."""
        carrier = self.schedule.carrier(device.name, block.points[0])
        if carrier is None or device.silent:
            return
        at = self._clock.now()
        if device.miss(carrier):
            await self._fell_silent(device, block, at)
            return
        self._confirm_by_period(device, block)
        self._call_witness(device, at.mono)

    def _confirm_by_period(self, device: PolledDevice, block: Block) -> None:
        """Bring the next periodic read forward to replace a failed confirm read."""
        now = self._clock.now().mono
        device.owed.update(block.points)
        for carrier in {self.schedule.carrier(device.name, point) for point in block.points}:
            if carrier is not None:
                self.schedule.retry(carrier, now)

    async def _read_once(self, block: Block, now: float, *, asked: bool) -> tuple[bytes, dict[str, Reading]]:
        """Read a block out of turn, for the site (`asked`) or for a caller. Raises DeviceError, LineDown."""
        device = self.devices[block.device]
        device.requests += 1
        self._writes.asked(device)
        try:
            raw = await self.poller.read(block, device.wait(block) if asked else device.patience())
        except GaveWay as error:
            if error.sent:
                self._writes.cut(device, self._clock.now().mono)
            raise
        except DeviceRefused:
            device.refused += 1
            raise
        except DeviceError:
            device.timeouts += 1
            device.waited_for()
            device.spare(now, self._clock.now().mono)
            raise
        at = self._clock.now()
        device.time.sample(self.poller.latency)
        if device.misses or not device.heard:
            await self._heard(device, at)
        owed = device.pay(block.points)
        decoded = self.poller.decode(block, raw)
        readings = {point: Reading(*value, at) for point, value in decoded.items()}
        told = readings if asked else {point: readings[point] for point in owed}
        await self._tell(device, device.table.answered_once(decoded, at), at, told)
        return raw, readings

    def _blocks_for(self, device: str, points: Sequence[str], lane: Lane) -> Sequence[Block]:
        """Requests that read only these points: parts of the periodic ones, so never longer, and split like those."""
        left = dict.fromkeys(points)
        found: list[Block] = []
        for carrier in self.schedule.blocks(device):
            if mine := [point for point in carrier.points if point in left]:
                found += self.poller.block_for(device, mine, lane)
                left = {point: None for point in left if point not in mine}
        return [*found, *self.poller.block_for(device, tuple(left), lane)] if left else found

    def _device(self, name: str) -> PolledDevice:
        """The device's state; a device without a readable point is added at its first use."""
        return self.devices.get(name) or self._add_device(name, (), self._clock.now())

    def _add_device(self, name: str, blocks: Sequence[Block], at: Instant) -> PolledDevice:
        watched = self._watched.get(name, frozenset())
        device = self.devices[name] = PolledDevice(name, blocks, self.poller.timing(name), watched, at)
        self._telemetry.add(device.name, device.table)
        return device

    # ---- what the rest of the gateway is told ----------------------------------------------------------

    async def _tell(
        self,
        device: PolledDevice,
        changed: Mapping[str, Reading],
        at: Instant,
        asked: Mapping[str, Reading] | None = None,
    ) -> None:
        """Report what changed, and what the site has asked for in any case; the site first, because it may be a fire.

        One answer of the device makes one `Answer`, because the site counts them to confirm an alarm.
        """
        if changed or asked:
            async with self._telling:
                seen = device.seen_by_site(changed)
                if asked:
                    seen.update(asked)
                if seen:
                    await self._inbox.put(Answer(device.name, seen, at))
                if changed:
                    self._telemetry.changed(device.name, changed)
        if not device.settled and not device.table.untried:
            device.settled = True
            self._telemetry.ready(device.name)

    async def _tell_sight(self, device: PolledDevice, at: Instant, *, line_up: bool) -> None:
        """Report once whether an alarm point has no value although the device is alive."""
        readings = device.table.readings
        blind = device.sight.look(readings, at, alive=line_up and device.shows_life)
        if blind is None:
            return
        detail = device.sight.detail(readings, device.code) if blind else ""
        if blind:
            _log.warning("device blind", line=self.line, device=device.name, detail=detail)
        await self._inbox.put(DeviceBlind(device.name, blind, detail, at))

    async def _tell_silent(self, device: PolledDevice, at: Instant) -> None:
        """Report once that the device has stopped answering."""
        if device.answering is False:
            return
        device.answering = False
        device.since = at.mono
        detail = f"{device.misses} reads in a row without an answer"
        _log.warning("device silent", line=self.line, device=device.name, detail=detail)
        await self._inbox.put(DeviceHealth(device.name, answering=False, detail=detail, at=at))

    async def _tell_answering(self, device: PolledDevice, at: Instant) -> None:
        """Report once that the device answers (again)."""
        if device.answering is True:
            return
        if device.answering is False:
            silent_for = round(at.mono - device.since, 1)
            _log.info("device answering", line=self.line, device=device.name, silent_for=silent_for)
        device.answering = True
        await self._inbox.put(DeviceHealth(device.name, answering=True, detail="", at=at))


def drop(future: Waiting) -> None:
    """The caller no longer waits: drop a request that has not begun, mark an error as handled."""
    if not future.cancel() and not future.cancelled():
        future.exception()
