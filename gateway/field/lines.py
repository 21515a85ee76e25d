"""One task owns one line: it opens the line, polls its devices in turn, and opens it again after a loss."""

import asyncio
import random
import traceback
from collections import deque
from collections.abc import Collection, Mapping

from gateway.backoff import BackOff
from gateway.clock import Clock
from gateway.driver import InputInbox, Poller
from gateway.errors import LineDown
from gateway.field.driver_guard import DriverBug, GuardedPoller
from gateway.field.polling import Polling, Reopen
from gateway.field.readings import Fetched
from gateway.field.schedule import Job
from gateway.field.status import LineStatus
from gateway.field.telemetry import TelemetrySender
from gateway.log import logger
from gateway.model import Instant, LineHealth, OwnHealth, Reading, Value

_log = logger(__name__)

_LEAST_REST_S = 0.5
"""The shortest wait before a lost line is opened again."""
TCP_BACK_OFF_S = 30.0
DIAL_IN_BACK_OFF_S = 1.0
"""The longest wait if the device dials in by itself: a short wait costs nothing."""
SERIAL_BACK_OFF_S = 4.0
"""The longest wait for a serial line: an adapter that is plugged in again is used within 5 s, of which opening takes 1
s."""

_BEAT_S = 5.0
"""An idle line shows at this interval that it is alive."""
_STEADY_S = 30.0
"""A line that was up for this long is opened again without the back-off of earlier losses."""
_FLAP_WINDOW_S, _FLAPS = 600.0, 2
"""A line that is lost this often within this time is flapping: its alarm stays and gives the count."""
_FLAP_STEADY_S = 60.0
"""The alarm of a flapping line ends after this time without a loss; its count is updated at this interval."""
_ALONE_S = 60.0
"""If at least this time has passed since the previous loss, a connection is reopened before an alarm is raised."""
_KEEPS_UP_S = 60.0
"""After this time without a skipped turn a line counts as keeping up again."""
_BUGS_TOLD = 16
_UNANSWERED = "it is open, and nothing on it has answered"


class Line:
    """A line that the gateway polls.

    `watched`: per device, the points that the site needs. The line waits while the site's `inbox` is full.
    `back_off`: longest wait before a lost line is opened again, in seconds. `may_hang`: True for a connection that can
    die unnoticed (TCP): it is reopened when none of its devices answers.
    """

    def __init__(  # noqa: PLR0913 - the wiring place names each of them
        self,
        name: str,
        poller: Poller,
        *,
        watched: Mapping[str, frozenset[str]],
        inbox: InputInbox,
        telemetry: TelemetrySender,
        clock: Clock,
        rng: random.Random,
        back_off: float = TCP_BACK_OFF_S,
        may_hang: bool = False,
    ) -> None:
        self.name = name
        self.beat = 0.0
        """Monotonic time of the last turn; at most 5 s plus one time-out old unless the line is stuck."""
        self._poller = GuardedPoller(poller)
        self._polling = Polling(
            name,
            self._poller,
            watched=watched,
            inbox=inbox,
            owner=self,
            telemetry=telemetry,
            clock=clock,
            may_hang=may_hang,
        )
        self._may_hang = may_hang
        self._inbox = inbox
        self._clock = clock
        self._back_off = BackOff(2 * _LEAST_REST_S, back_off, rng, least_s=_LEAST_REST_S)
        self._turn = asyncio.Lock()
        self._waker: asyncio.Future[None] | None = None
        self._up: bool | None = None
        """The last report to the site: True for up, False for down; None: none yet."""
        self._is_open = False
        self._is_lost = False
        """The line was lost and nothing has answered since."""
        self._lost_at: deque[float] = deque(maxlen=100)
        self._flapping = ""
        """The last report about frequent losses; empty: none."""
        self._flap_told = 0.0
        self._confused: bool | None = None if self._poller.oddities else False
        """The last report of `bus-confused`; None: none yet, and the alarm of the previous process may still stand."""
        self._detail = "not opened yet"
        self._since = clock.now().mono
        self._losses = 0
        self._bugs = 0
        self._bugs_told: set[str] = set()
        self._busy = 0.0
        self._busy_from = 0.0
        self._busy_share = 0.0
        self._overruns = 0
        self._overrun_at: float | None = None

    async def run(self) -> None:
        """Run the line until cancelled. Only a bug of ours ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_house(), name=f"line {self.name} chores")
                await self._own()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors.exceptions[0].__cause__

    async def _own(self) -> None:
        """Open the line, poll it, and open it again after each loss, without end."""
        learnt = False
        try:
            while True:
                try:
                    if not learnt:
                        self._polling.learn(self._clock.now())
                        learnt = True
                        await asyncio.sleep(0)  # orders from the start are queued before the first read
                    async with self._poller:
                        await self._serve()
                except Reopen:
                    continue
                except LineDown as error:
                    now = self._clock.now().mono
                    if self._polling.answered and now - self._polling.opened >= _STEADY_S:
                        self._back_off.reset()
                    await self._went_down(error)
                await self._rest(now + self._back_off.next())
        finally:
            self._up = self._is_open = False
            self._polling.refuse(LineDown("the line was closed"))

    def read_now(self, device: str, points: tuple[str, ...]) -> None:
        """Read these points at once; the site gets the answer even if unchanged. Does nothing if the line is down."""
        if not (self._up or self._is_open):
            return
        try:
            self._polling.confirm(device, points, self._clock.now().mono)
        except DriverBug as error:
            self._count_bug(error)
        self._stir()

    async def fetch(self, device: str, points: tuple[str, ...] | None = None) -> Mapping[str, Reading]:
        """Read points from the wire (None: all). Raises DeviceError, LineDown."""
        return (await self.fetch_raw(device, points)).readings

    async def fetch_raw(self, device: str, points: tuple[str, ...] | None = None) -> Fetched:
        """As `fetch`, with the registers behind the readings.

        A request for points made before the line was first opened waits for that: a round resumed after a restart
        makes such requests.
        """
        if points is None or self._up is not None:
            self._must_be_up()
        self._stir()
        return await self._polling.fetch(device, points, self._clock.now().mono)

    async def order(self, device: str, point: str, value: Value, expires: float | None = None) -> float:
        """Write one point ahead of everything else; if given before the line is opened, it is the first request.

        `expires` (monotonic seconds): until then it is tried again while the device is silent; None: once.
        Returns when the write went out
        (monotonic seconds). Raises DeviceSilent (also when it expired), DeviceRefused, LineDown.
        """
        if self._up is not None:
            self._must_be_up()
        self._stir()
        return await self._polling.order(device, point, value, expires, self._clock.now().mono)

    @property
    def up(self) -> bool:
        """The line is open, and something on it answered."""
        return bool(self._up)

    def snapshot(self) -> LineStatus:
        """The state for health, metrics and the local page."""
        return LineStatus(
            line=self.name,
            up=bool(self._up),
            detail="" if self._up else _UNANSWERED if self._is_open else self._detail,
            down_since=None if self._up else self._since,
            losses=self._losses,
            driver_bugs=self._bugs,
            busy=self._busy_share if self._up else 0.0,
            overruns=self._polling.schedule.overruns,
            oddities=self._poller.oddities,
            is_open=self._is_open,
            devices={name: device.status() for name, device in self._polling.devices.items()},
        )

    def readings(self) -> Mapping[str, Mapping[str, Reading]]:
        """The last readings of every device, by point."""
        return {name: device.table.picture() for name, device in self._polling.devices.items()}

    def told(self) -> Mapping[str, Mapping[str, Reading]]:
        """The last reported readings of every device; each object is replaced only when it changes."""
        return {name: device.table.readings for name, device in self._polling.devices.items()}

    def latest(self, device: str, points: Collection[str], since: float) -> Fetched | None:
        """Readings by periodic reads since then (monotonic seconds), if they include all of these points."""
        return self._polling.latest(device, points, since)

    def longest_answers(self) -> Mapping[str, float]:
        """Device -> its longest recent answer beyond the wire time; devices with too few answers are left out."""
        times = ((name, device.time.longest) for name, device in self._polling.devices.items())
        return {name: longest for name, longest in times if longest is not None}

    # ---- up and down ----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Poll the open line until it is lost."""
        at = self._clock.now()
        self._polling.begin(at)
        self._is_open = True
        self._busy_from = at.mono
        self._busy = 0.0
        if not self._polling.devices:
            await self.came_up(at)  # without devices no answer will come
        if self._poller.in_flight == 1:
            await self._ask()
            return
        # No task of the group may raise: a failing group absorbs a cancellation of the same moment, and the line would
        # be reopened instead of closed.
        failed: list[Exception] = []
        one: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            askers = [
                group.create_task(self._ask_until(one, failed), name=f"line {self.name} request {number}")
                for number in range(self._poller.in_flight)
            ]
            try:
                await one
            finally:
                for asker in askers:
                    asker.cancel()
        # A bug of ours takes precedence over the loss of the line.
        first = next((error for error in failed if not isinstance(error, LineDown | Reopen)), failed[0])
        raise first from first.__cause__

    async def _ask_until(self, one: asyncio.Future[None], failed: list[Exception]) -> None:
        """Take turns until this task or one beside it fails."""
        try:
            await self._ask_by_turns()
        except Exception as error:  # noqa: BLE001 - raised again in the waiting task
            failed.append(error)
            _ring(one)

    async def came_up(self, at: Instant) -> None:
        """Report the line as up at its first answer; an open connection alone does not count."""
        self._is_lost = False
        if self._up is not True:
            down_for = round(at.mono - self._since, 1)
            _log.info("line up", line=self.name, down_for=down_for)
            self._up = True
            self._count_losses(at.mono)
            await self._inbox.put(LineHealth(self.name, up=True, detail=self._flapping, at=at))

    def _count_losses(self, now: float) -> None:
        """Report how often the line was lost recently, at most once a minute."""
        recent = sum(now - at < _FLAP_WINDOW_S for at in self._lost_at)
        if recent >= _FLAPS and (not self._flapping or now - self._flap_told >= _FLAP_STEADY_S):
            self._flapping = f"lost {recent} times in {_FLAP_WINDOW_S / 60:.0f} min; the last time: {self._detail}"
            self._flap_told = now

    async def _tell_confusion(self, at: Instant) -> None:
        """Raise or clear `bus-confused`, by whether unrequested answers arrive."""
        odd = self._poller.oddities or {}
        confused = str(odd.get("confused") or "")
        if "confused" not in odd or bool(confused) is self._confused:
            return
        self._confused = bool(confused)
        if confused:
            _log.warning("bus confused", line=self.name, unpaired=odd.get("unpaired"), detail=confused)
        await self._inbox.put(OwnHealth(f"{self.name}/bus-confused", not confused, confused, at))

    async def _settle(self, at: Instant) -> None:
        """End the alarm of a flapping line once it has been steady for a minute."""
        if self._flapping and self._up and at.mono - self._lost_at[-1] >= _FLAP_STEADY_S:
            self._flapping = ""
            await self._inbox.put(LineHealth(self.name, up=True, detail="", at=at))

    async def _went_down(self, error: LineDown) -> None:
        at = self._clock.now()
        if isinstance(error, DriverBug):
            self._count_bug(error)
        self._is_open = False
        alone = not self._lost_at or at.mono - self._lost_at[-1] >= _ALONE_S
        self._detail = str(error) or "the line cannot be used"
        if not self._is_lost:
            self._is_lost = True
            self._lost_at.append(at.mono)
            self._losses += 1
        if self._may_hang and self._polling.answered and alone and not isinstance(error, DriverBug):
            _log.info("line lost", line=self.name, detail=str(error))
            self._polling.pause()
            return
        was, self._up = self._up, False
        self._polling.refuse(error)
        if was is not False:
            self._since = at.mono
            _log.warning("line down", line=self.name, detail=self._detail)
            await self._inbox.put(LineHealth(self.name, up=False, detail=self._detail, at=at))
        await self._polling.lose(at)

    def _count_bug(self, error: DriverBug) -> None:
        """Count it, and log its traceback once for each place in the driver."""
        self._bugs += 1
        frame = traceback.extract_tb(error.__cause__.__traceback__ if error.__cause__ else None)[-1:]
        place = f"{frame[0].filename}:{frame[0].lineno}" if frame else str(error)
        if place not in self._bugs_told and len(self._bugs_told) < _BUGS_TOLD:
            self._bugs_told.add(place)
            _log.error("error in the driver", line=self.name, exc_info=error.__cause__)

    async def _rest(self, until: float) -> None:
        """Wait before the line is opened again."""
        while (now := self._clock.now().mono) < until:
            self.beat = now
            await self._pause(until - now)

    def _must_be_up(self) -> None:
        if not (self._up or self._is_open):
            raise LineDown(self._detail)

    # ---- turn by turn ---------------------------------------------------------------------------------

    async def _ask(self) -> None:
        now = self._clock.now().mono
        do = self._polling.do
        while True:
            job, began = await self._take(now)
            now = await do(job, began)
            self._busy += now - began

    async def _ask_by_turns(self) -> None:
        """Run jobs. Of several such tasks one waits for the next job, the others have a request under way."""
        while True:
            async with self._turn:
                job, began = await self._take(self._clock.now().mono)
            self._busy += await self._polling.do(job, began) - began
            self._stir()

    async def _take(self, now: float) -> tuple[Job, float]:
        """Wait for the next job; returns it and the present time, which may be much later than `now`."""
        schedule = self._polling.schedule
        while True:
            self.beat = now
            job = schedule.next(now)
            if not isinstance(job, float):
                return job, now
            await self._pause(job - now)
            now = self._clock.now().mono

    async def _pause(self, seconds: float) -> None:
        """Wait, at most one beat, or until something is requested."""
        loop = asyncio.get_running_loop()
        waker = self._waker = loop.create_future()
        timer = loop.call_later(min(seconds, _BEAT_S), _ring, waker)
        try:
            await waker
        finally:
            timer.cancel()
            self._waker = None

    def _stir(self) -> None:
        if self._waker is not None:
            _ring(self._waker)

    async def _keep_house(self) -> None:
        """Do the chores beside the requests, so that old readings become BAD even during a long request."""
        while True:
            again = await self._chores()
            await asyncio.sleep(again - self._clock.now().mono)

    async def _chores(self) -> float:
        """Check old readings, time in use, skipped turns. Returns when to check again (monotonic seconds)."""
        at = self._clock.now()
        again = min(await self._polling.sweep(at), at.mono + _BEAT_S)
        await self._settle(at)
        await self._tell_confusion(at)
        if not self._is_open:
            return again
        if at.mono - self._busy_from >= _BEAT_S:
            self._busy_share = min(1.0, self._busy / (at.mono - self._busy_from) / self._poller.in_flight)
            self._busy, self._busy_from = 0.0, at.mono
        skipped = self._polling.schedule.overruns
        if skipped > self._overruns:
            if self._overrun_at is None:
                _log.warning("line too slow", line=self.name, skipped=skipped)
            self._overrun_at, self._overruns = at.mono, skipped
        elif self._overrun_at is not None and at.mono - self._overrun_at >= _KEEPS_UP_S:
            self._overrun_at = None
            _log.info("line keeps up", line=self.name, skipped=skipped)
        return again


def _ring(waker: asyncio.Future[None]) -> None:
    if not waker.done():
        waker.set_result(None)
