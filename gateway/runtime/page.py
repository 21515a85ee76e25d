"""Wires the local page: what it reads from the other rooms, and what it asks of them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway import __version__
from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.driver import Poller
from gateway.errors import ConfigError, StoreError
from gateway.field.lines import Line
from gateway.local.files import Files
from gateway.local.frames import LineFrames
from gateway.local.http import HttpAnswer, HttpRequest, HttpServer, Route
from gateway.local.page import Page, PagePeople, SiteAsks
from gateway.local.passwords import Passwords
from gateway.local.records import Records
from gateway.local.requests import People
from gateway.local.sessions import Codes, Sessions
from gateway.local.state import PASSAGES, SiteView
from gateway.local.streams import Streams
from gateway.log import logger
from gateway.model import Effect, Emit, Instant, Json, Reading, Stream
from gateway.runtime.reconfigure import Reconfiguration
from gateway.runtime.site_loop import CurrentSite
from gateway.runtime.trial import Phase
from gateway.runtime.watchdog import Vitals
from gateway.settings.types import PageSettings, Settings
from gateway.site.alarms import MEMORY

_log = logger(__name__)

_TEXT = "text/plain; charset=utf-8"
_CODE_NAME = 200
_METRICS_S = 1.0
"""The metrics are made anew at most once in this time, however many ask."""
_PASSWORDS_S = 10.0
"""Time between two checks of the users' secrets."""


class LocalPage:
    """Everything below `http.status`."""

    def __init__(  # noqa: PLR0913 - it reads everything
        self,
        settings: Settings,
        page: PageSettings,
        *,
        clock: Clock,
        journal: Journal,
        lines: Mapping[str, Line],
        site: CurrentSite,
        vitals: Vitals,
        pollers: Mapping[str, Poller],
        people: People,
        file: Reconfiguration | None,
    ) -> None:
        self._journal = journal
        self._page = page
        every = {
            device.id: {point.name: point.every for point in device.points}
            for line in settings.lines
            for device in line.devices
        }
        leads: dict[str, dict[str, Json]] = {
            line.name: {"serial": line.serial} if line.serial else {"tcp": f"{line.host}:{line.port}"}
            for line in settings.lines
        }
        files = Files.load()
        state = SiteView(page.facts, leads, every, files.hash)
        sources = _Sources(lines, site, vitals, file)
        self._streams = Streams(state, sources, clock)
        roles = {name: user.role for name, user in page.users.items()}
        self._sessions = Sessions(settings.store.path / "sessions", roles, self._streams, clock)
        self._codes = Codes(clock)
        self._passwords = Passwords(page.users, clock)
        logins = PagePeople(self._passwords, self._sessions, self._codes, bool(page.users), page.read_only)
        asks = SiteAsks(people, LineFrames(settings, lines, pollers, clock), sources, page.facts, clock)
        pages = Page(self._streams, logins, Records(journal.history, clock), files, asks)
        at = page.listen
        machines = _for_machines(vitals, clock)
        self._listener = HttpServer(
            at.host, at.port, {**pages.routes(), **machines}, at.tls, names=page.names, visitors=pages
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        self._sessions.load()
        self._sessions.check(await asyncio.to_thread(self._passwords.marks))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listener.run(), name="http")
            group.create_task(self._sessions.run(), name="page sessions")
            group.create_task(self._passwords.run(), name="page logins")
            group.create_task(self._watch_passwords(), name="page passwords")
            await self._recall_passages()
            group.create_task(self._passwords.tell_plain(), name="page users")
            await self._streams.run()

    async def _watch_passwords(self) -> None:
        """Log out users whose password has changed since their login."""
        while True:
            await asyncio.sleep(_PASSWORDS_S)
            self._sessions.check(await asyncio.to_thread(self._passwords.marks))

    def emitted(self, effects: Sequence[Effect], now: Instant) -> None:
        """Do nothing: only committed events are shown."""

    def kept(self, effects: Sequence[Effect]) -> None:
        """Pass on what the page shows at once, because it is committed now."""
        for effect in effects:
            if isinstance(effect, Emit) and effect.stream is Stream.ACCESS and "plate_raw" in effect.data:
                self._streams.passed(effect.data)
        self._streams.news()

    async def code(self, request: Mapping[str, Any]) -> Json:
        """`page.code`: a link that logs a technician in once. Raises ConfigError."""
        if self._page.read_only:
            raise ConfigError("http.status is off loopback and has no tls: nobody can log in there")
        account = str(request["account"])
        by = str(request.get("by") or account).strip()[:_CODE_NAME]
        if by.casefold() in {name.casefold() for name in self._page.users}:
            raise ConfigError(f"{by} is a user of the page: log in with the password")
        _log.info("a code for the page was made", by=by, account=account)
        scheme = "https" if self._page.listen.tls else "http"
        return {
            "code": self._codes.make(by, account),
            "scheme": scheme,
            "port": self._listener.port,
            "host": self._page.listen.host,
            "names": sorted(self._page.names),
            "seconds": Codes.LIFE_S,
        }

    async def _recall_passages(self) -> None:
        """Load the last passages, also from before the start."""
        try:
            rows = await self._journal.history.back(Stream.ACCESS, None, 4 * PASSAGES, b'"plate_raw":')
        except StoreError as error:
            _log.warning("the page begins without the last passages", error=str(error))
            return
        events = [orjson.loads(row.payload)["data"] for row in rows if row.payload is not None][:PASSAGES]
        for data in reversed(events):
            self._streams.passed(data)


class _Sources:
    """What the page reads."""

    def __init__(
        self,
        lines: Mapping[str, Line],
        site: CurrentSite,
        vitals: Vitals,
        file: Reconfiguration | None,
    ) -> None:
        self._lines = lines
        self._site = site
        self._vitals = vitals
        self._file = file
        self._digest = "" if file is None else file.digest
        self._tests: dict[str, tuple[Mapping[str, Json], Mapping[str, Json]]] = {}

    def standing(self) -> Mapping[str, Mapping[str, Json]]:
        tested = self._site.tested()
        told = {key.removeprefix(MEMORY): alarm for key, alarm in self._site.standing.items()}
        self._tests = {subject: self._as_test(subject, told[subject]) for subject in tested & told.keys()}
        return told | {subject: test for subject, (_, test) in self._tests.items()}

    def _as_test(self, subject: str, alarm: Mapping[str, Json]) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
        """The alarm with its test mark; the same object as long as the alarm object is the same."""
        known = self._tests.get(subject)
        return known if known is not None and known[0] is alarm else (alarm, {**alarm, "test": True})

    def gates(self) -> Mapping[str, Json]:
        return self._vitals.gates()

    def rounds(self) -> Mapping[str, Json]:
        return self._site.rounds()

    def under_test(self) -> Mapping[str, str]:
        return self._site.under_test()

    def health(self) -> Mapping[str, Json]:
        pending = None if self._file is None else self._file.pending
        trial = pending is not None and pending.phase is Phase.TRIAL
        config: dict[str, Json] = {"digest": self._digest, "trial": trial}
        return {**self._vitals.health(), "well": self._vitals.is_well(), "config": config}

    def readings(self) -> Mapping[str, Mapping[str, Reading]]:
        return {device: readings for line in self._lines.values() for device, readings in line.told().items()}


def _for_machines(vitals: Vitals, clock: Clock) -> dict[str, Route]:
    """`/metrics`, and `/healthz`: 200 while every task makes progress, as for the watchdog, else 503."""
    from gateway.local.metrics import CONTENT_TYPE, Metrics

    metrics = Metrics(__version__, vitals)

    made, text = float("-inf"), b""

    async def tell_metrics(_request: HttpRequest) -> HttpAnswer:
        nonlocal made, text
        now = clock.now().mono
        if now - made >= _METRICS_S:
            made, text = now, metrics.text()
        return HttpAnswer(200, CONTENT_TYPE, text)

    async def healthz(_request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(200, _TEXT, b"alive\n") if vitals.is_alive() else HttpAnswer(503, _TEXT, b"stuck\n")

    return {"/metrics": Route(get=tell_metrics, any_host=True, cost=4), "/healthz": Route(get=healthz, any_host=True)}
