"""Reports that the gateway is alive: health, self-alarms once a second, systemd's watchdog."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.field.lines import Line
from gateway.field.telemetry import TelemetrySender
from gateway.log import logger
from gateway.model import Json, StoodStill
from gateway.package import version_words
from gateway.runtime import health
from gateway.runtime.cloud import CloudSide
from gateway.runtime.crashes import Crashes
from gateway.runtime.inbox import Inbox
from gateway.runtime.poison import Poison
from gateway.runtime.self_alarms import Supervision
from gateway.runtime.site_loop import CurrentSite
from gateway.runtime.systemd import notify, watchdog_interval
from gateway.site.alarms import MEMORY

if TYPE_CHECKING:
    from gateway.intake.cameras import Gatehouse

_log = logger(__name__)

_HEALTH_EVERY_S = 60.0
_STILL_S = 6.0
"""If two checks that should be one second apart are further apart than this, nothing was watched for over 5 s."""
_STUCK_S = 30.0
"""A task without progress for this time is stuck: the watchdog is not fed any more."""


class Vitals:
    """Reads the state of all rooms and changes nothing. `folder`: of the store."""

    def __init__(  # noqa: PLR0913 - it reads everything
        self,
        folder: Path,
        journal: Journal,
        clock: Clock,
        *,
        crashes: Crashes,
        poison: Poison,
        inbox: Inbox,
        supervision: Supervision,
        site: CurrentSite,
        cloud: CloudSide,
        lines: Mapping[str, Line],
        telemetry: TelemetrySender,
        cameras: "Gatehouse | None",
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._clock = clock
        self._crashes = crashes
        self._version = version_words()
        self._poison = poison
        self._inbox = inbox
        self._supervision = supervision
        self._site = site
        self._cloud = cloud
        self._uplink = cloud.uplink
        self._lines = lines
        self._telemetry = telemetry
        self._cameras = cameras

    async def run(self) -> None:
        """Check, report the health and feed the watchdog until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_health(), name="health")
            group.create_task(self._supervise(), name="supervision")
            group.create_task(self._feed_watchdog(), name="watchdog")

    def health(self) -> dict[str, Json]:
        """The state of everything, as in `gateway.health`."""
        lines = {name: line.snapshot() for name, line in self._lines.items()}
        data = health.data(lines, self._journal.stats(), self._uplink.snapshot(), self._clock.now(), self._folder)
        if self._cameras is not None:
            data |= self._cameras.health(self._site.scales())
        data["process"] = {
            "version": self._version,
            "reduced": self._crashes.reduced,
            "crashes": self._crashes.recent,
            "refused": [*self._poison.refused],
            "refusals": self._poison.refusals,
            "untold": self._telemetry.failures,
            "ignored": self._cloud.ignored,
        }
        return data

    def alarms(self) -> list[Mapping[str, Json]]:
        """Those that stand, each with its subject."""
        return [{**alarm, "subject": key.removeprefix(MEMORY)} for key, alarm in self._site.standing.items()]

    def gates(self) -> Mapping[str, Json]:
        """How each gate stands."""
        return self._site.gates(self._clock.now())

    def is_alive(self) -> bool:
        """True if every task makes progress."""
        now = self._clock.now().mono
        beats = [self._uplink.beat, *(line.beat for line in self._lines.values())]
        if len(self._inbox):
            beats.append(self._site.stepped)
        stuck = [beat for beat in beats if now - beat > _STUCK_S and beat]
        if stuck:
            _log.error("a task is stuck", for_s=round(now - min(stuck)))
        return not stuck

    def is_well(self) -> bool:
        """True if it is alive, its decisions are stored, and no part of it is off."""
        return not (self._crashes.reduced or self._journal.lost) and self.is_alive()

    # ---- what runs --------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        before = self._clock.now().mono
        while True:
            await asyncio.sleep(1.0)
            now = self._clock.now()
            still, before = now.mono - before, now.mono
            if still > _STILL_S:
                _log.warning("the process stood still", for_s=round(still, 1))
                self._inbox.remind(StoodStill(now, __version__, now.wall - still))
            self._supervision.look(now)
            self._crashes.look(now)

    async def _tell_health(self) -> None:
        """Send the health each minute, and within a second after a line or the link goes up or down."""
        told, before = -_HEALTH_EVERY_S, tuple[bool, ...]()
        while True:
            now = self._clock.now().mono
            state = (self._uplink.connected, *(line.up for line in self._lines.values()))
            if state != before or now - told >= _HEALTH_EVERY_S:
                told, before = now, state
                self._uplink.set_health(self.health())
            await asyncio.sleep(1.0)

    async def _feed_watchdog(self) -> None:
        """Feed systemd's watchdog while every task makes progress."""
        interval = watchdog_interval()
        while interval is not None:
            if self.is_alive():
                notify("WATCHDOG=1")
            await asyncio.sleep(interval)
