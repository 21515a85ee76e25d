"""The one wiring place: builds all rooms from the site file, runs them, stops them in order.

    lines ─▶ inbox ─▶ Site.step ─▶ journal ─▶ uplink
      ▲                  │
      └──── ReadNow ─────┘

Stop: lines first (nothing new comes in), then the site's last word, its commit, the broker's
acknowledgements, the farewell, the journal. A bug of ours ends the process instead, with status 70: what is
appended is written, and the service manager starts it anew.
"""

import asyncio
import os
import random
import signal
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from drivers.modbus.line import ModbusLine
from gateway import __version__, health
from gateway.clock import Clock
from gateway.cloud import events
from gateway.cloud.journal import Journal
from gateway.cloud.link import Delivery
from gateway.cloud.uplink import Callbacks, Uplink
from gateway.cloud.uplink import Settings as UplinkSettings
from gateway.crashes import MANY, WITHIN, Crashes, is_ours
from gateway.decisions import Act, Brain, Decisions
from gateway.errors import ConfigError, GatewayError
from gateway.field.lines import SERIAL_BACK_OFF, TCP_BACK_OFF, Line
from gateway.field.telemetry import Telemetry
from gateway.inbox import Inbox
from gateway.local.control import NAME, Control
from gateway.log import logger
from gateway.model import Instant, Json, Operate, Reading, ReadNow, Remember, Stream
from gateway.notify import notify, watchdog_interval
from gateway.orders import Orders
from gateway.poison import Poison
from gateway.settings import Settings
from gateway.site.alarms import MEMORY
from gateway.site.site import Site
from gateway.supervision import CRASHES, NOT_DELIVERED, POISON, Supervision
from gateway.technician.asks import Asks

if TYPE_CHECKING:
    from gateway.local.http import Listener

_log = logger(__name__)

BUG = 70
"""Exit status after an error of our own (EX_SOFTWARE of sysexits.h)."""
_HEALTH_EVERY = 60.0
_STUCK = 30.0
"""A task that has not moved for so long is stuck: the watchdog is not fed any more."""
_LEAVES_WITHIN = 1.5
_LAST_COMMIT = 0.5
_FAREWELL = 1.0


def run(settings: Settings, *, brain: Brain = Site) -> None:
    """Run the gateway until SIGTERM or SIGINT. Raises GatewayError or OSError if it cannot start.

    Raises SystemExit(70) after an error of our own. `brain` makes the site.
    """
    try:
        asyncio.run(_until_stopped(settings, brain))
    except (GatewayError, OSError):
        raise
    except Exception as bug:
        _log.critical("ended by an error of our own", exc_info=bug)
        raise SystemExit(BUG) from bug


async def _until_stopped(settings: Settings, brain: Brain) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop, brain=brain)


async def serve(settings: Settings, stop: asyncio.Event, *, brain: Brain = Site, clock: Clock | None = None) -> None:
    """Run the gateway until `stop` is set. Raises as `run`, and an exception group after an error of our own."""
    clock = clock or Clock()
    store = settings.store
    async with Journal(
        store.path,
        source=settings.source,
        now=clock.now,
        keep=store.keep,
        max_size=store.max_size,
        alarm_reserve=store.alarm_reserve,
        simulated=settings.simulated,
    ) as journal:
        if journal.newest is not None:
            clock.not_before(journal.newest)
        crashes = Crashes(store.path / "running", journal.boot)
        crashes.begin(clock.now())
        await Gateway(settings, journal, clock, crashes, brain=brain).run(stop)
        crashes.end()


class Gateway:
    """All rooms of one site, wired. The constructor builds, `run` does."""

    def __init__(
        self, settings: Settings, journal: Journal, clock: Clock, crashes: Crashes, *, brain: Brain = Site
    ) -> None:
        self._settings = settings
        self._folder = settings.store.path
        self._journal = journal
        self._clock = clock
        self._crashes = crashes
        self._seed = os.urandom(16)
        urgent = settings.urgent
        self._inbox = Inbox(urgent)
        self._poison = Poison(self._folder / "poison", __version__, urgent)
        self._supervision = Supervision(journal, self._inbox.remind)
        self._uplink = self._north()
        self._decisions = Decisions(
            lambda: brain(settings.site, self._seed),
            self._inbox,
            journal,
            clock,
            self._poison,
            do=self._carry_out,
            tell_standing=self._uplink.set_standing,
            emitted=self._supervision.emitted,
        )
        self._telemetry = Telemetry(self._publish, clock, every=settings.telemetry_every, deadbands=settings.deadbands)
        self._pollers = {line.name: ModbusLine(line) for line in settings.lines}
        self._lines = self._south()
        self._line_of = {device.id: self._lines[device.line] for device in settings.site.devices.values()}
        self._orders = Orders(self._line_of, clock, self._inbox.remind)
        self._bug: BaseException | None = None

    def _north(self) -> Uplink:
        return Uplink(
            UplinkSettings(
                broker=self._settings.broker,
                root=self._settings.topics,
                source=self._settings.source,
                boot=self._journal.boot,
                version=__version__,
                simulated=self._settings.simulated,
            ),
            self._journal,
            self._clock,
            os.urandom,
            Callbacks(
                self._commanded,
                self._refused,
                self._supervision.unheard,
                self._supervision.link,
                self._supervision.heard,
            ),
        )

    def _south(self) -> dict[str, Line]:
        watched = self._settings.site.watched()
        return {
            line.name: Line(
                line.name,
                self._pollers[line.name],
                watched=watched,
                put=self._inbox.put,
                telemetry=self._telemetry,
                clock=self._clock,
                rng=random.Random(),  # noqa: S311 - spreads reconnections, hides nothing
                back_off=TCP_BACK_OFF if line.serial is None else SERIAL_BACK_OFF,
                may_hang=line.serial is None,
            )
            for line in self._settings.lines
        }

    @property
    def reduced(self) -> bool:
        """After three crashes in a minute: cameras, page and commands stay off in this life."""
        return self._crashes.reduced

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then stop in order."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: self._raised(loop, context, stop))
        self._restore()
        async with asyncio.TaskGroup() as north:
            uplink = north.create_task(self._uplink.run(), name="uplink")
            try:
                async with self._telemetry, asyncio.TaskGroup() as south:
                    tasks = [
                        *(south.create_task(line.run(), name=f"line {name}") for name, line in self._lines.items()),
                        south.create_task(self._decisions.run(), name="site"),
                        south.create_task(self._orders.run(), name="orders"),
                        south.create_task(self._control().run(), name="control"),
                        south.create_task(self._tell_health(), name="health"),
                        south.create_task(self._supervise(), name="supervision"),
                        south.create_task(self._feed_watchdog(), name="watchdog"),
                        *(south.create_task(one.run(), name="http") for one in self._listeners()),
                    ]
                    notify("READY=1")
                    await stop.wait()
                    if self._bug is not None:
                        raise self._bug
                    notify("STOPPING=1")
                    leave_until = loop.time() + _LEAVES_WITHIN
                    for task in tasks:
                        task.cancel()
                await self._decisions.last_word("asked to stop", _LAST_COMMIT)
                await self._uplink.farewell(max(0.1, min(_FAREWELL, leave_until - loop.time())))
            finally:
                uplink.cancel()

    def _restore(self) -> None:
        self._poison.load()
        memory = self._journal.memory
        self._decisions.restore(self._folder)
        self._journal.append([Remember("process/seed", self._seed.hex())])
        now = self._clock.now()
        standing = self._decisions.standing
        fires = any(alarm.get("kind") == "fire" for alarm in standing.values())
        self._supervision.begin(now, fires=fires, untold=MEMORY + NOT_DELIVERED in memory)
        refused = self._poison.refused
        text = f"refused because they ended the process: {', '.join(refused)}" if refused else ""
        self._supervision.say(POISON, text, now)
        if self.reduced:
            _log.critical("crashed too often: only fire runs", crashes=self._crashes.recent, within_s=WITHIN)
        text = f"{MANY} crashes in {WITHIN:.0f} s: cameras, page and commands are off" if self.reduced else ""
        self._supervision.say(CRASHES, text, now)

    def _raised(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any], stop: asyncio.Event) -> None:
        """An exception in a callback of the loop: if it is ours the process ends, as for one in a task."""
        error = context.get("exception")
        if "handle" in context and is_ours(error):
            self._bug = self._bug or error
            stop.set()
        else:
            loop.default_exception_handler(context)

    def _carry_out(self, act: Act) -> None:
        match act:
            case ReadNow(device, points):
                self._line_of[device].read_now(device, points)
            case Operate():
                self._orders.operate(act)

    # ---- what goes round the site -----------------------------------------------------------------

    def _publish(self, device: str, full: bool, readings: Mapping[str, Reading], at: Instant) -> None:
        self._journal.telemetry(device, events.telemetry_data(device, full, readings), at)

    def _commanded(self, topic: str, _payload: bytes, delivery: Delivery) -> None:
        """No key is known: nothing is believed."""
        _log.warning("command refused", topic=topic, size=delivery.size)
        delivery.acknowledge()

    def _refused(self, stream: Stream, code: int | None) -> None:
        if code is None:
            _log.info("stream flows again", stream=stream.value)
        else:
            _log.error("the broker refuses a stream", stream=stream.value, code=code)
        self._supervision.refused(stream, code, self._clock.now())

    # ---- the gateway itself -----------------------------------------------------------------------

    async def _supervise(self) -> None:
        begun = self._clock.now().mono
        is_steady = False
        while True:
            await asyncio.sleep(1.0)
            now = self._clock.now()
            self._supervision.look(now)
            if not is_steady and now.mono - begun >= WITHIN:
                is_steady = True
                self._crashes.steady()

    async def _tell_health(self) -> None:
        while True:
            self._uplink.set_health(self._health())
            await asyncio.sleep(_HEALTH_EVERY)

    def _health(self) -> dict[str, Json]:
        lines = {name: line.snapshot() for name, line in self._lines.items()}
        data = health.data(lines, self._journal.stats(), self._uplink.snapshot(), self._clock.now(), self._folder)
        data["process"] = {
            "reduced": self.reduced,
            "crashes": self._crashes.recent,
            "refused": [*self._poison.refused],
            "refusals": self._poison.refusals,
        }
        return data

    async def _feed_watchdog(self) -> None:
        """Feed systemd's watchdog while every task moves."""
        interval = watchdog_interval()
        while interval is not None:
            if self._is_alive():
                notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _is_alive(self) -> bool:
        now = self._clock.now().mono
        beats = [self._uplink.beat, *(line.beat for line in self._lines.values())]
        if len(self._inbox):
            beats.append(self._decisions.stepped)
        stuck = [beat for beat in beats if now - beat > _STUCK and beat]
        if stuck:
            _log.error("a task is stuck", for_s=round(now - min(stuck)))
        return not stuck

    def _listeners(self) -> "Iterator[Listener]":
        """The HTTP listeners that the file asks for; their libraries are loaded only then."""
        at = self._settings.status
        if at is None or self.reduced:
            return
        from gateway.local.http import looking_on
        from gateway.local.metrics import Metrics

        metrics = Metrics(
            __version__, self._health, lambda: [str(one["severity"]) for one in self._decisions.standing.values()]
        )
        yield looking_on(at.host, at.port, metrics, self._is_alive, at.tls)

    # ---- the control socket ---------------------------------------------------------------------

    def _control(self) -> Control:
        technician = Asks(
            self._settings,
            self._lines,
            self._pollers,
            self._clock,
            health=self._health,
            alarms=self._alarms,
        )
        return Control(
            self._folder / NAME,
            {
                "read": self._asked_read,
                "status": self._asked_status,
                "alarms": self._asked_alarms,
                **technician.table(),
            },
        )

    def _alarms(self) -> list[Json]:
        return [*self._decisions.standing.values()]

    async def _asked_read(self, request: Mapping[str, Any]) -> Json:
        device = str(request["device"])
        points = request.get("points")
        if device not in self._line_of:
            raise ConfigError(f"there is no device {device}")
        readings = await self._line_of[device].fetch(device, tuple(points) if points else None)
        data: Json = events.readings_data(readings)
        return data

    async def _asked_status(self, _request: Mapping[str, Any]) -> Json:
        return self._health()

    async def _asked_alarms(self, _request: Mapping[str, Any]) -> Json:
        return self._alarms()
