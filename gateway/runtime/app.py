"""The one wiring place: builds all rooms from the site file, runs them, stops them in order.

    lines, cameras ─▶ inbox ─▶ Site.step ─▶ journal ─▶ uplink
          ▲             ▲          │                      │
          └─────────────┼─ effects ┘                      │
                        └──────── exchange ◀── commands ──┘

Stopping order: lines (nothing new comes in), the site's last step and its commit, the broker's acknowledgements, the
goodbye to the broker, the journal. A bug of ours ends the process with status 70 instead: what is appended is written,
and the service manager starts it again.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - this and the next would be loaded by their first use, after READY
import encodings.idna  # noqa: F401
import os
import random
import signal
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from drivers.modbus.line import lines
from drivers.modbus.settings import LineSettings
from gateway import __version__
from gateway.clock import Clock
from gateway.cloud import events
from gateway.cloud.journal.journal import Journal
from gateway.cloud.journal.schema import VERSION
from gateway.cloud.mqtt.uplink import Uplink
from gateway.errors import GatewayError
from gateway.field.lines import DIAL_IN_BACK_OFF_S, SERIAL_BACK_OFF_S, TCP_BACK_OFF_S, Line
from gateway.field.telemetry import TelemetrySender
from gateway.local.control import Control, places
from gateway.local.queries import LEAST_ROLES, Asks
from gateway.local.requests import People
from gateway.log import logger
from gateway.model import Emit, Errand, Instant, Json, Reading, Remember
from gateway.runtime.cloud import CloudSide
from gateway.runtime.crashes import MANY, WITHIN_S, Crashes, is_ours
from gateway.runtime.effects import Effects, Errands, Orders, of_configuration, of_history, of_lines
from gateway.runtime.health_relay import Alive
from gateway.runtime.inbox import Inbox
from gateway.runtime.on_loss import Losses
from gateway.runtime.poison import Poison
from gateway.runtime.reconfigure import Reconfiguration
from gateway.runtime.self_alarms import CRASHES, NOT_DELIVERED, POISON, Supervision
from gateway.runtime.site_loop import Brain, Bystander, CurrentSite, Decisions
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
_LEAVES_WITHIN_S = 1.5
_LAST_COMMIT_S = 0.5
_FAREWELL_S = 1.0
_LOOK_S = 1.0
_KEEP_TIME_S = 10.0


def run(settings: Settings, *, brain: Brain = Site, file: Reconfiguration | None = None) -> bool:
    """Run the gateway until SIGTERM or SIGINT. True: the process has to begin anew (see `Gateway.anew`).

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
    """Run the gateway until `stop` is set, or the process has to begin anew (True).

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
        schema=upgrade.schema(VERSION),
        scratch=places(store.path)[0].parent,
    ) as journal:
        if not upgrade.on_trial:
            upgrade.opened(VERSION)
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


class Runs(Protocol):
    """Something that runs until cancelled."""

    async def run(self) -> None:
        """Until cancelled."""
        ...


class Gateway:
    """All rooms of one site, wired. The constructor builds, `run` does."""

    _reason = "asked to stop"
    """Why the gateway ends."""
    anew = False
    """It ended to be executed anew: with another site file, the previous version, or everything on after a reduced
    run."""
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
        self._replaced = asyncio.Event()
        self._settings = settings
        self._folder = settings.store.path
        self._journal = journal
        self._clock = clock
        self._crashes = crashes
        self._file = file
        self._seed = os.urandom(16)

        # The site and its inbox.
        self._inbox = Inbox(settings.urgent)
        self._poison = Poison(self._folder / "poison", __version__, settings.urgent)
        self._site = CurrentSite(settings.site, self._seed, brain)
        self._supervision = Supervision(journal, self._inbox, clock)

        # Polled lines, and sources that send by themselves.
        every, deadbands = settings.telemetry_every, settings.deadbands
        self._telemetry = TelemetrySender(self._publish, clock, every=every, deadbands=deadbands)
        self._pollers, self._ports = lines(settings.lines)
        self._lines = self._asked_lines()
        asked = (device for device in settings.site.devices.values() if device.line in self._lines)
        self._line_of = {device.id: self._lines[device.line] for device in asked}
        self._gatehouse = self._cameras()

        # The cloud: commands in, events and replies out.
        self._cloud = CloudSide(
            settings, journal, clock, self._supervision, self._inbox, takes_commands=not self.reduced
        )
        self._uplink = self._cloud.uplink

        # Carrying out effects.
        self._around = _Around(self._lines, self._uplink, journal, self._site)
        self._people = People(self._inbox, clock)
        self._orders = Orders(self._line_of, clock, self._inbox)
        self._errands = Errands(clock, self._inbox, self._errand_table())

        # Observers.
        self._vitals = self._looking_after()
        self._page = self._local_page()

        # The loop that steps the site.
        bystanders: list[Bystander] = [self._supervision, *([] if self._page is None else [self._page])]
        self._decisions = Decisions(
            self._site, self._inbox, journal, clock, self._poison,
            executor=self._executor(), world=self._uplink, bystanders=bystanders,
        )  # fmt: skip

    def _executor(self) -> Effects:
        return Effects(
            self._line_of,
            self._inbox,
            self._clock,
            orders=self._orders,
            errands=self._errands,
            people=self._people,
            exchange=self._cloud.exchange,
            uplink=self._uplink,
            cameras=self._gatehouse,
        )

    def _looking_after(self) -> Vitals:
        return Vitals(
            self._folder,
            self._journal,
            self._clock,
            crashes=self._crashes,
            poison=self._poison,
            inbox=self._inbox,
            supervision=self._supervision,
            site=self._site,
            cloud=self._cloud,
            lines=self._lines,
            telemetry=self._telemetry,
            cameras=self._gatehouse,
        )

    def _errand_table(self) -> Mapping[str, Errand]:
        """Command -> who carries it out outside the site. Modules for cameras and rounds are loaded only if needed."""
        settings, journal = self._settings, self._journal
        table = {**of_lines(self._line_of), **of_history(self._cloud.replay)}
        if self._gatehouse is not None:
            table |= self._gatehouse.errands(journal)
        if self._file is not None:
            table |= of_configuration(self._file, self._around)
        if settings.site.inspection is None:
            return table
        from gateway.runtime.round_errands import RoundReads

        table |= RoundReads(self._line_of, self._clock).errands()
        if self._gatehouse is not None and settings.site.inspection.looks_at_cameras:
            table |= self._gatehouse.looks(settings.store.path / "references", journal)
        if settings.site.inspection.asks_people:
            from gateway.intake.answers import Answers

            table |= Answers(settings.place_tags, journal, self._clock).errands()
        return table

    def _asked_lines(self) -> dict[str, Line]:
        watched = self._settings.site.watched()
        return {
            line.name: Line(
                line.name,
                self._pollers[line.name],
                watched=watched,
                inbox=self._inbox,
                telemetry=self._telemetry,
                clock=self._clock,
                rng=random.Random(),  # noqa: S311 - spreads reconnections, hides nothing
                back_off=_back_off(line),
                may_hang=line.serial is None,
            )
            for line in self._settings.lines
        }

    def _cameras(self) -> "Gatehouse | None":
        """Load what cameras need only if there are any."""
        settings, at = self._settings, self._settings.camera_listen
        if not settings.cameras or self.reduced:
            return None
        from gateway.intake.cameras import Gatehouse
        from gateway.intake.lists import PlateLists

        return Gatehouse(
            settings.cameras,
            inbox=self._inbox,
            store=self._journal,
            clock=self._clock,
            lists=None if settings.lists is None else PlateLists(settings.lists, self._inbox, self._clock),
            listen=None if at is None else (at.host, at.port),
            max_body=settings.camera_max_body,
        )

    @property
    def reduced(self) -> bool:
        """True after three crashes in a minute: cameras, page and commands are off in this process."""
        return self._crashes.reduced

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then stop in order."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: self._raised(loop, context, stop))
        self._restore()
        control = self._control()
        async with asyncio.TaskGroup() as north:
            uplink = north.create_task(self._uplink.run(), name="uplink")
            try:
                async with self._telemetry, asyncio.TaskGroup() as south:
                    tasks = [
                        south.create_task(self._orders.run(), name="orders"),  # first: writes known holds
                        *(south.create_task(line.run(), name=f"line {name}") for name, line in self._lines.items()),
                        *(south.create_task(port.run(), name=f"port {port.port}") for port in self._ports),
                        south.create_task(self._decisions.run(), name="site"),
                        south.create_task(control.run(), name="control"),
                        south.create_task(self._vitals.run(), name="vitals"),
                        south.create_task(self._errands.run(), name="errands"),
                        south.create_task(self._cloud.run(), name="cloud"),
                        *(south.create_task(one.run(), name=name) for name, one in self._where_wanted()),
                        *(
                            south.create_task(self._begin_anew(due, stop), name=name)
                            for name, due in self._beginnings().items()
                        ),
                    ]
                    await control.tried.wait()
                    notify("READY=1")
                    self._upgrade.ready.set()
                    await stop.wait()
                    if self._bug is not None:
                        raise self._bug
                    self._upgrade.stopped()
                    if not self.anew:
                        self._stopped()
                        notify("STOPPING=1")
                    leave_until = loop.time() + _LEAVES_WITHIN_S
                    for task in tasks:
                        task.cancel()
                await self._decisions.last_word(self._reason, _LAST_COMMIT_S)
                await self._uplink.farewell(max(0.1, min(_FAREWELL_S, leave_until - loop.time())))
            finally:
                uplink.cancel()

    def _restore(self) -> None:
        self._poison.load()
        if self._file is not None:
            self._file.recall(self._journal.memory)
        memory = self._journal.memory
        self._decisions.restore(self._folder)
        now = self._clock.now()
        self._journal.append([Remember("process/seed", self._seed.hex()), *self._upgrade.told(memory, now)])
        standing = self._site.standing
        fires = any(alarm.get("kind") == "fire" for alarm in standing.values())
        self._supervision.begin(now, fires=fires, untold=MEMORY + NOT_DELIVERED in memory)
        refused = self._poison.refused
        text = f"refused because they ended the process: {', '.join(refused)}" if refused else ""
        self._supervision.say(POISON, text, now)
        if self.reduced:
            minutes = round(self._crashes.reduced_for_s / 60)
            _log.critical("crashed too often: only fire runs", crashes=self._crashes.recent, for_minutes=minutes)
            text = f"{MANY} crashes in {WITHIN_S:.0f} s: cameras, page and commands are off for {minutes} min"
        else:
            text = ""
        self._supervision.say(CRASHES, text, now)

    def _raised(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any], stop: asyncio.Event) -> None:
        """Handle an exception in a callback of the loop: a bug of ours ends the process, as in a task."""
        error = context.get("exception")
        if "handle" in context and is_ours(error):
            self._bug = self._bug or error
            stop.set()
        else:
            loop.default_exception_handler(context)

    async def _begin_anew(self, until_due: Coroutine[Any, Any, str], stop: asyncio.Event) -> None:
        reason = await until_due
        if not stop.is_set():
            # Another version has its own unit, and only the service manager can start a process under it.
            self.anew, self._reason = not self._replaced.is_set(), reason
            _log.info("the process begins anew", why=reason)
        stop.set()

    def _beginnings(self) -> dict[str, Coroutine[Any, Any, str]]:
        """The reasons to begin anew: each returns when it is due."""
        due: dict[str, Coroutine[Any, Any, str]] = {"installed": self._until_replaced()}
        if self._file is not None:
            due["site file"] = self._file.until_due(self._clock, self._around)
        if self.reduced:
            due["recovery"] = self._until_recovered()
        if self._upgrade.on_trial:
            due["upgrade"] = self._until_rolled_back()
        return due

    async def _until_rolled_back(self) -> str:
        """Wait until the version on trial has failed, no fire stands and no gate is held: the previous one returns."""
        reason = await self._upgrade.watch(self._clock, self._around)
        if reason is None:
            await asyncio.Event().wait()  # the version is kept
        await self._until_free()
        return str(reason)

    async def _until_replaced(self) -> str:
        """Wait until a version installed while a fire stood or a gate was held may start."""
        await self._replaced.wait()
        await self._until_free()
        return "another version is installed"

    async def _until_recovered(self) -> str:
        """Wait until a reduced run has lasted long enough, no fire stands and no gate is held: then all is tried."""
        await self._until(lambda: self._crashes.is_served(self._clock.now()))
        await self._until_free()
        if not self._replaced.is_set():  # else it is counted at the end, as of every process that ends
            self._stopped()
        return "what was off after crashes is tried again"

    async def _until_free(self) -> None:
        """Wait until no fire stands and no gate is held."""
        await self._until(lambda: self._site.interlocked() is None)

    @staticmethod
    async def _until(holds: Callable[[], bool]) -> None:
        while not holds():  # noqa: ASYNC110 - neither a clock nor the site sets an event
            await asyncio.sleep(_LOOK_S)

    def _stopped(self) -> None:
        """Note that the stop was asked for, so that a trial does not count it as a failed start."""
        if self._file is not None:
            self._file.stopped()

    # ---- what goes round the site -----------------------------------------------------------------

    def _publish(self, device: str, full: bool, readings: Mapping[str, Reading], at: Instant) -> None:
        self._journal.telemetry(device, events.telemetry_data(device, full, readings), at)

    # ---- signals and listeners --------------------------------------------------------------------

    def _where_wanted(self) -> "Iterator[tuple[str, Runs]]":
        """The optional parts in the site file; their libraries are loaded only then."""
        if self._gatehouse is not None:
            yield "gatehouse", self._gatehouse
        at = self._settings.site.own.alive
        if at is not None:
            line, timed = self._line_of[at.device], self._settings.alive_timed
            yield "alive", Alive(at, line, self._clock, self._vitals, timed=timed)
        for line in self._lines.values():  # configure what opens when we fall silent
            mine = [one for one in self._settings.losses if self._line_of[one.output.device] is line]
            if mine:
                yield "on loss", Losses(mine, line, self._clock, self._inbox)
        if self._page is not None:
            yield "page", self._page

    def _local_page(self) -> "LocalPage | None":
        """Make the local page; its libraries are loaded only then."""
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
            site=self._site,
            vitals=self._vitals,
            pollers=self._pollers,
            people=self._people,
            file=self._file,
        )

    # ---- the control socket ---------------------------------------------------------------------

    def _control(self) -> Control:
        asks = Asks(
            self._settings,
            self._lines,
            self._pollers,
            self._clock,
            watched=self._vitals,
            history=self._journal.history,
        )
        table = {**asks.table(), "do": self._people.ask, "rounds": self._rounds}
        table |= {"interlock": self._upgradable, "restart": self._replace}
        if self._page is not None:
            table["page.code"] = self._page.code
        if self._gatehouse is not None:
            table["camera.last"] = self._last_push
        if self._gatehouse is not None and self._gatehouse.lists is not None:
            table["access.import"] = self._gatehouse.lists.imported
        return Control(places(self._folder), table, least=LEAST_ROLES, people=self._settings.people, store=self._folder)

    async def _rounds(self, _request: Mapping[str, Any]) -> Json:
        """`{running, next, findings}`: progress and questions of each run, the next runs, the open findings."""
        return dict(self._site.rounds())

    async def _upgradable(self, _request: Mapping[str, Any]) -> Json:
        """Answer a package before it unpacks: why it may not now, and what its version has to reach again."""
        around = self._around
        return {
            "interlocked": around.interlocked(),
            "lines": sorted(around.answering()),
            "connected": around.connected(),
        }

    async def _replace(self, _request: Mapping[str, Any]) -> Json:
        """Answer a package that installed another version: why it may not restart us now; we end when possible."""
        why = self._around.interlocked()
        if why is not None:
            self._replaced.set()
        return {"interlocked": why}

    async def _last_push(self, request: Mapping[str, Any]) -> Json:
        """Answer with the last unreadable push of a camera, after an audit event about who looks at it."""
        if self._gatehouse is None:
            return None
        found = await self._gatehouse.last(request)
        if found is not None:
            who = {"by": request.get("by") or request["account"], "args": {"camera": request["camera"]}}
            await self._people.ask({**request, **who, "cmd": "camera.last"})
        return found


def _back_off(line: LineSettings) -> float:
    """The longest wait before a lost line is opened again, seconds."""
    if line.listens:
        return DIAL_IN_BACK_OFF_S
    return TCP_BACK_OFF_S if line.serial is None else SERIAL_BACK_OFF_S


class _Around:
    """The state of the running gateway that a change of the site file depends on."""

    def __init__(self, lines: Mapping[str, Line], uplink: Uplink, journal: Journal, site: CurrentSite) -> None:
        self._lines = lines
        self._uplink = uplink
        self._journal = journal
        self._site = site

    def lines(self) -> Collection[str]:
        return [*self._lines]

    def answering(self) -> Collection[str]:
        states = {name: line.snapshot() for name, line in self._lines.items()}
        return {
            name for name, state in states.items() if state.up and any(one.answering for one in state.devices.values())
        }

    def connected(self) -> bool:
        return self._uplink.connected

    def interlocked(self) -> str | None:
        return self._site.interlocked()

    async def commit(self, effects: list[Emit | Remember]) -> None:
        accepted = asyncio.Event()
        self._journal.append(effects, then=accepted.set)
        await accepted.wait()
