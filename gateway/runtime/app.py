"""The one wiring place: builds all rooms from the site file, runs them, stops them in order.

    lines ─▶ inbox ─▶ Site.step ─▶ journal ─▶ uplink
      ▲                  │
      └──── ReadNow ─────┘

Stop: lines first (nothing new comes in), then the site's last word, its commit, the broker's
acknowledgements, the farewell, the journal. A bug of ours ends the process instead, with status 70: what is
appended is written, and the service manager starts it anew.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - this and the next would be loaded by their first use, after READY
import encodings.idna  # noqa: F401
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from drivers.modbus.line import lines
from drivers.modbus.settings import LineSettings
from gateway import __version__
from gateway.clock import Clock
from gateway.cloud import events
from gateway.cloud.journal.journal import Journal
from gateway.errors import ConfigError, GatewayError
from gateway.field.lines import DIAL_IN_BACK_OFF, SERIAL_BACK_OFF, TCP_BACK_OFF, Line
from gateway.field.telemetry import TelemetrySender
from gateway.local.control import Control, places
from gateway.local.queries import LEAST_ROLES, Asks
from gateway.log import logger
from gateway.model import (
    Effect,
    Errand,
    Instant,
    Json,
    KeepPictures,
    Operate,
    Outcome,
    Perform,
    Reading,
    ReadNow,
    Remember,
    Reply,
)
from gateway.runtime.crashes import MANY, WITHIN, Crashes, is_ours
from gateway.runtime.health_relay import Alive
from gateway.runtime.inbox import Inbox
from gateway.runtime.north import North, Task
from gateway.runtime.on_loss import Losses
from gateway.runtime.operate import Orders
from gateway.runtime.poison import Poison
from gateway.runtime.reconfigure import Reconfiguration
from gateway.runtime.requests import People
from gateway.runtime.self_alarms import CRASHES, NOT_DELIVERED, POISON, Supervision
from gateway.runtime.site_loop import Act, Brain, Decisions
from gateway.runtime.systemd import notify
from gateway.runtime.upgrade import Upgrade
from gateway.runtime.watchdog import Vitals
from gateway.runtime.without_authorities import without_authorities
from gateway.settings.types import Settings
from gateway.site.alarms import MEMORY
from gateway.site.site import Site

if TYPE_CHECKING:
    from gateway.intake.cameras import Gatehouse
    from gateway.runtime.page import LocalPage

_log = logger(__name__)

BUG = 70
"""Exit status after an error of our own (EX_SOFTWARE of sysexits.h)."""
_LEAVES_WITHIN = 1.5
_LAST_COMMIT = 0.5
_FAREWELL = 1.0
_RECOVERY_LOOK_S = 1.0


def run(settings: Settings, *, brain: Brain = Site, file: Reconfiguration | None = None) -> bool:
    """Run the gateway until SIGTERM or SIGINT; True: until the process is to begin anew (see `Gateway.anew`).

    Raises GatewayError or OSError if it cannot start, SystemExit(70) after an error of our own. `brain` makes the site.
    """
    try:
        return asyncio.run(_until_stopped(settings, brain, file))
    except (GatewayError, OSError):
        raise
    except Exception as bug:
        _log.critical("ended by an error of our own", exc_info=bug)
        raise SystemExit(BUG) from bug


async def _until_stopped(settings: Settings, brain: Brain, file: Reconfiguration | None) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await serve(settings, stop, brain=brain, file=file)


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    brain: Brain = Site,
    clock: Clock | None = None,
    file: Reconfiguration | None = None,
) -> bool:
    """Run the gateway until `stop` is set, or the process is to begin anew (True).

    Raises as `run`, and an exception group after an error of our own.
    """
    clock = clock or Clock()
    store = settings.store
    upgrade = Upgrade()
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
        gateway = Gateway(settings, journal, clock, crashes, brain=brain, file=file, upgrade=upgrade)
        await gateway.run(stop)
        if gateway.anew:
            crashes.end_to_begin_anew()
        else:
            crashes.end()
    return gateway.anew


class Gateway:
    """All rooms of one site, wired. The constructor builds, `run` does."""

    _reason = "asked to stop"
    """Why it ends."""
    anew = False
    """It ended to begin anew: another site file, the version before, or everything on after a reduced life."""
    _bug: BaseException | None = None
    """An error of our own in a callback of the loop."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        clock: Clock,
        crashes: Crashes,
        *,
        brain: Brain = Site,
        file: Reconfiguration | None = None,
        upgrade: Upgrade | None = None,
    ) -> None:
        self._upgrade = upgrade or Upgrade()
        self._settings = settings
        self._folder = settings.store.path
        self._journal = journal
        self._clock = clock
        self._crashes = crashes
        self._seed = os.urandom(16)
        self._inbox = Inbox(settings.urgent)
        self._poison = Poison(self._folder / "poison", __version__, settings.urgent)
        self._supervision = Supervision(journal, self._inbox.remind)
        self._north = North(
            settings, journal, clock, self._supervision, self._inbox.put, takes_commands=not self.reduced, file=file
        )
        self._people = People(self._inbox.put, clock)
        self._decisions = Decisions(
            lambda: brain(settings.site, self._seed),
            self._inbox,
            journal,
            clock,
            self._poison,
            do=self._carry_out,
            tell_standing=self._north.uplink.set_standing,
            emitted=self._supervision.emitted,
            kept=self._kept,
        )
        every, deadbands = settings.telemetry_every, settings.deadbands
        self._telemetry = TelemetrySender(self._publish, clock, every=every, deadbands=deadbands)
        self._pollers, self._ports = lines(settings.lines)
        south = self._lines = self._south()
        self._line_of = {one.id: south[one.line] for one in settings.site.devices.values() if one.line in south}
        self._orders = Orders(self._line_of, clock, self._inbox.remind)
        self._gatehouse = self._cameras()
        self._north.wire(self._lines, self._decisions.interlocked, self._south_errands())
        self._vitals = Vitals(
            self._folder,
            journal,
            clock,
            crashes=crashes,
            poison=self._poison,
            inbox=self._inbox,
            supervision=self._supervision,
            decisions=self._decisions,
            north=self._north,
            lines=self._lines,
            telemetry=self._telemetry,
            cameras=self._camera_health if self._gatehouse is not None else None,
        )
        self._page = self._local_page()

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
                back_off=_back_off(line),
                may_hang=line.serial is None,
            )
            for line in self._settings.lines
        }

    def _cameras(self) -> "Gatehouse | None":
        """What cameras need is loaded only where there are some."""
        settings, at = self._settings, self._settings.camera_listen
        if not settings.cameras or self.reduced:
            return None
        from gateway.intake.cameras import Gatehouse
        from gateway.intake.lists import PlateLists

        return Gatehouse(
            settings.cameras,
            hand_in=self._decisions.hand_in,
            store_picture=self._journal.picture,
            tell=self._inbox.remind,
            clock=self._clock,
            lists=None if settings.lists is None else PlateLists(settings.lists, self._inbox.put, self._clock),
            listen=None if at is None else (at.host, at.port),
            max_body=settings.camera_max_body,
        )

    def _south_errands(self) -> Mapping[str, Errand]:
        """What cameras and rounds need is loaded only where there are some."""
        settings, journal = self._settings, self._journal
        errands: dict[str, Errand] = {"read": self._perform_read}
        if self._gatehouse is not None:
            errands |= self._gatehouse.errands(journal.erase, journal.history.naming)
        if settings.site.inspection is None:
            return errands
        from gateway.runtime.round_errands import RoundReads

        errands |= RoundReads(self._line_of, self._clock).errands()
        if settings.site.inspection.asks_people:
            from gateway.intake.answers import Answers

            errands |= Answers(settings.place_tags, journal.picture, self._clock).errands()
        return errands

    @property
    def reduced(self) -> bool:
        """After three crashes in a minute: cameras, page and commands are off in this life."""
        return self._crashes.reduced

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then stop in order."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: self._raised(loop, context, stop))
        self._restore()
        control = self._control()
        async with asyncio.TaskGroup() as north:
            uplink = north.create_task(self._north.uplink.run(), name="uplink")
            try:
                async with self._telemetry, asyncio.TaskGroup() as south:
                    tasks = [
                        south.create_task(self._orders.run(), name="orders"),  # before the lines: holds go first
                        *(south.create_task(line.run(), name=f"line {name}") for name, line in self._lines.items()),
                        *(south.create_task(port.run(), name=f"port {port.port}") for port in self._ports),
                        south.create_task(self._decisions.run(), name="site"),
                        south.create_task(control.run(), name="control"),
                        *(
                            south.create_task(self._begin_anew(due, stop), name=name)
                            for name, due in self._beginnings()
                        ),
                        *(south.create_task(one.run(), name=one.name) for one in self._vitals.tasks()),
                        *(south.create_task(one.run(), name=one.name) for one in self._north.tasks()),
                        *(south.create_task(one.run(), name="gatehouse") for one in self._entrances()),
                        *(south.create_task(one.run(), name=one.name) for one in self._page_tasks()),
                        *(south.create_task(one.run(), name="alive") for one in self._signals()),
                        *(south.create_task(one.run(), name="on loss") for one in self._losses()),
                    ]
                    await control.tried.wait()
                    notify("READY=1")
                    self._upgrade.ready.set()
                    await stop.wait()
                    if self._bug is not None:
                        raise self._bug
                    self._upgrade.stopped()
                    if not self.anew:
                        self._north.stopped()
                        notify("STOPPING=1")
                    leave_until = loop.time() + _LEAVES_WITHIN
                    for task in tasks:
                        task.cancel()
                await self._decisions.last_word(self._reason, _LAST_COMMIT)
                await self._north.uplink.farewell(max(0.1, min(_FAREWELL, leave_until - loop.time())))
            finally:
                uplink.cancel()

    def _restore(self) -> None:
        self._poison.load()
        self._north.recall()
        memory = self._journal.memory
        self._decisions.restore(self._folder)
        now = self._clock.now()
        self._journal.append([Remember("process/seed", self._seed.hex()), *self._upgrade.told(memory, now)])
        standing = self._decisions.standing
        fires = any(alarm.get("kind") == "fire" for alarm in standing.values())
        self._supervision.begin(now, fires=fires, untold=MEMORY + NOT_DELIVERED in memory)
        refused = self._poison.refused
        text = f"refused because they ended the process: {', '.join(refused)}" if refused else ""
        self._supervision.say(POISON, text, now)
        if self.reduced:
            minutes = round(self._crashes.reduced_for_s / 60)
            _log.critical("crashed too often: only fire runs", crashes=self._crashes.recent, for_minutes=minutes)
            text = f"{MANY} crashes in {WITHIN:.0f} s: cameras, page and commands are off for {minutes} min"
        else:
            text = ""
        self._supervision.say(CRASHES, text, now)

    def _raised(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any], stop: asyncio.Event) -> None:
        """An exception in a callback of the loop: if it is ours the process ends, as for one in a task."""
        error = context.get("exception")
        if "handle" in context and is_ours(error):
            self._bug = self._bug or error
            stop.set()
        else:
            loop.default_exception_handler(context)

    async def _begin_anew(self, until_due: Callable[[], Awaitable[str]], stop: asyncio.Event) -> None:
        reason = await until_due()
        if not stop.is_set():
            self.anew, self._reason = True, reason
            _log.info("the process begins anew", why=reason)
        stop.set()

    async def _until_file_due(self) -> str:
        await self._north.until_restart_due()
        return "another site file"

    def _beginnings(self) -> "Iterator[tuple[str, Callable[[], Awaitable[str]]]]":
        """What the process may begin anew for: each returns with its reason once it is due."""
        yield "site file", self._until_file_due
        if self.reduced:
            yield "recovery", self._until_recovered
        if self._upgrade.on_trial:
            yield "upgrade", self._until_rolled_back

    async def _until_rolled_back(self) -> str:
        """The version on trial did not prove itself, no fire stands and no gate is held: the one before runs again."""
        reason = await self._upgrade.watch(self._clock, [*self._lines], self._north.answering, self._is_connected)
        while True:
            if reason is not None and self._decisions.interlocked() is None:
                return reason
            await asyncio.sleep(_RECOVERY_LOOK_S)

    def _is_connected(self) -> bool:
        return self._north.uplink.snapshot().connected

    async def _upgradable(self, _request: Mapping[str, Any]) -> Json:
        """What a package asks before it unpacks: why it may not now, and what its version has to reach again."""
        return {
            "interlocked": self._decisions.interlocked(),
            "lines": sorted(self._north.answering()),
            "connected": self._is_connected(),
        }

    async def _until_recovered(self) -> str:
        """A reduced life has lasted long enough, no fire stands and no gate is held: what was off is tried again."""
        while True:
            if self._crashes.is_served(self._clock.now()) and self._decisions.interlocked() is None:
                self._north.stopped()
                return "what was off after crashes is tried again"
            await asyncio.sleep(_RECOVERY_LOOK_S)

    # ---- what the site wants done -------------------------------------------------------------------

    def _carry_out(self, act: Act) -> None:
        """Every effect of a step that is no event and no memory."""
        match act:
            case ReadNow(device, points) if device in self._line_of:
                self._line_of[device].read_now(device, points)
            case Operate() if act.device in self._line_of:
                self._orders.operate(act)
            case Operate() if self._gatehouse is not None:
                self._gatehouse.relays.operate(act)
            case Operate():  # the relay of a camera, in a life without cameras
                self._inbox.remind(Outcome(act.order, False, "refused", None, self._clock.now()))
            case KeepPictures() if self._gatehouse is not None:
                self._gatehouse.entrance.keep(act)
            case Reply(local=True):
                self._people.answer(act)
            case Reply():
                self._north.reply(act)
            case Perform():
                self._north.perform(act)

    async def _perform_read(self, act: Perform) -> Json:
        """The command `read`: its arguments were looked at by the site."""
        point = act.args.get("point")
        device = str(act.args["device"])
        if device not in self._line_of:
            raise ConfigError(f"{device} is not asked: it tells by itself")
        readings = await self._line_of[device].fetch(device, (str(point),) if point else None)
        data: Json = {"device": device, "readings": events.readings_data(readings)}
        return data

    # ---- what goes round the site -----------------------------------------------------------------

    def _publish(self, device: str, full: bool, readings: Mapping[str, Reading], at: Instant) -> None:
        self._journal.telemetry(device, events.telemetry_data(device, full, readings), at)

    # ---- signals and listeners --------------------------------------------------------------------

    def _signals(self) -> Iterator[Alive]:
        """The relay that drops when we are unwell, if there is one."""
        at = self._settings.site.own.alive
        if at is not None:
            yield Alive(
                at, self._line_of[at.device], self._clock, self._vitals.is_well, timed=self._settings.alive_timed
            )

    def _losses(self) -> Iterator[Losses]:
        """What is told to the modules of each line whose outputs open when we fall silent."""
        for line in self._lines.values():
            mine = [one for one in self._settings.losses if self._line_of[one.output.device] is line]
            if mine:
                yield Losses(mine, line, self._clock, self._inbox.remind)

    def _entrances(self) -> "Iterator[Gatehouse]":
        if self._gatehouse is not None:
            yield self._gatehouse

    def _page_tasks(self) -> "Iterator[Task]":
        """What people and machines look on with, if the file asks for it."""
        if self._page is not None:
            yield from self._page.tasks()

    def _local_page(self) -> "LocalPage | None":
        """Its libraries are loaded only where it is wanted."""
        if self._settings.page is None or self.reduced:
            return None
        with without_authorities(needed=bool(self._settings.cameras)):
            from gateway.runtime.page import LocalPage

        return LocalPage(
            self._settings,
            self._settings.page,
            clock=self._clock,
            journal=self._journal,
            lines=self._lines,
            decisions=self._decisions,
            vitals=self._vitals,
            pollers=self._pollers,
            ask=self._people.ask,
        )

    def _kept(self, effects: Sequence[Effect]) -> None:
        """A step was committed."""
        if self._page is not None:
            self._page.kept(effects)

    # ---- the control socket ---------------------------------------------------------------------

    def _control(self) -> Control:
        asks = Asks(
            self._settings,
            self._lines,
            self._pollers,
            self._clock,
            health=self._vitals.health,
            alarms=self._alarms,
            gates=self._decisions.gates,
            events=self._journal.history.latest,
        )
        table = {**asks.table(), "do": self._people.ask, "rounds": self._rounds, "interlock": self._upgradable}
        if self._page is not None:
            table["page.code"] = self._page.code
        if self._gatehouse is not None:
            table["camera.last"] = self._last_push
        if self._gatehouse is not None and self._gatehouse.lists is not None:
            table["access.import"] = self._gatehouse.lists.imported
        return Control(places(self._folder), table, least=LEAST_ROLES, people=self._settings.people, store=self._folder)

    async def _rounds(self, _request: Mapping[str, Any]) -> Json:
        """`{running, findings}`: how far each run is and whom it asks what; the findings that are open."""
        return dict(self._decisions.rounds())

    def _camera_health(self) -> Mapping[str, Json]:
        return {} if self._gatehouse is None else self._gatehouse.health(self._decisions.scales())

    async def _last_push(self, request: Mapping[str, Any]) -> Json:
        """The last push of a camera that could not be read; who looks at it stands in the audit first."""
        if self._gatehouse is None:
            return None
        found = await self._gatehouse.last(request)
        if found is not None:
            who = {"by": request.get("by") or request["account"], "args": {"camera": request["camera"]}}
            await self._people.ask({**request, **who, "cmd": "camera.last"})
        return found

    def _alarms(self) -> list[Json]:
        return [{**alarm, "subject": key.removeprefix(MEMORY)} for key, alarm in self._decisions.standing.items()]


def _back_off(line: LineSettings) -> float:
    """The longest wait before a lost line is opened again, in seconds."""
    if line.listens:
        return DIAL_IN_BACK_OFF
    return TCP_BACK_OFF if line.serial is None else SERIAL_BACK_OFF
