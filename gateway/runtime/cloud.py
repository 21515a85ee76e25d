"""Wires the cloud side: events and replies out, commands in, replay of kept events.

journal ─▶ uplink ─▶ broker        broker ─▶ exchange ─▶ inbox
"""

import asyncio

from gateway import __version__
from gateway.clock import Clock
from gateway.cloud.commands.command_time import MEMORY as COMMAND_TIME
from gateway.cloud.commands.command_time import CommandTime
from gateway.cloud.commands.exchange import Closed, Exchange, Judge, NoKeys
from gateway.cloud.commands.replay import Replay
from gateway.cloud.journal.journal import Journal
from gateway.cloud.mqtt.board import Nonces
from gateway.cloud.mqtt.recall import Recalled, recalled
from gateway.cloud.mqtt.uplink import Uplink, UplinkSettings
from gateway.driver import SiteInbox
from gateway.log import logger
from gateway.runtime.self_alarms import Supervision
from gateway.settings.types import Settings

_log = logger(__name__)

_KEEP_TIME_S = 10.0


class CloudSide:
    """The parts of the cloud side. Without `takes_commands` this process reads no commands."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        clock: Clock,
        supervision: Supervision,
        inbox: SiteInbox,
        *,
        takes_commands: bool,
    ) -> None:
        self._journal = journal
        self._clock = clock
        ours = _uplink_settings(settings, journal)
        nonces = Nonces()
        self._time = _command_time(journal, clock)
        judge = _judge(settings, clock, nonces, self._time) if takes_commands else NoKeys(clock)
        self.exchange = Exchange(ours, judge, clock, inbox)
        self._closed = None if takes_commands else Closed()
        self.replay = Replay(journal.history)
        self._recall = Recall(settings.source, journal, supervision, clock)
        self.uplink = Uplink(
            ours,
            journal,
            clock,
            nonces=nonces,
            observer=supervision,
            desk=self._closed or self.exchange,
            replayed=self.replay,
            recall=self._recall,
        )

    @property
    def ignored(self) -> int:
        """The number of commands that were not read."""
        return 0 if self._closed is None else self._closed.ignored

    async def run(self) -> None:
        """Run everything beside the uplink until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.replay.run(), name="replay")
            group.create_task(self._recall.run(), name="recall")
            group.create_task(self._keep_time(), name="command time")
            if self._closed is None:
                group.create_task(self.exchange.run(), name="exchange")

    async def _keep_time(self) -> None:
        """Keep the command time in the memory, so that a later wrong clock cannot undo it."""
        while True:
            changed = self._time.changed(self._clock.now())
            if changed is not None:
                self._journal.append([changed])
            await asyncio.sleep(_KEEP_TIME_S)


class Recall:
    """Judges an earlier process's `alarm/active` before anything is sent, because the store may be an older copy."""

    def __init__(self, source: str, journal: Journal, supervision: Supervision, clock: Clock) -> None:
        self._source = source
        self._journal = journal
        self._supervision = supervision
        self._clock = clock
        self._found: asyncio.Queue[tuple[Recalled, asyncio.Future[None]]] = asyncio.Queue(1)

    def recalled(self, payload: bytes | None) -> asyncio.Future[None] | None:
        """Take the message from the uplink. The returned future is done when it was handled; None: nothing to do."""
        said = None if payload is None else recalled(payload, self._source)
        if said is None or self._found.full():
            return None
        journal = self._journal
        if journal.judged(said.numbers) is None and (said.numbers.journal == journal.journal_id or not said.alarms):
            return None
        seen_to = asyncio.get_running_loop().create_future()
        self._found.put_nowait((said, seen_to))
        return seen_to

    async def run(self) -> None:
        """Handle the message, until cancelled."""
        while True:
            said, seen_to = await self._found.get()
            loss = self._journal.judged(said.numbers)
            if loss is not None:
                await self._journal.went_back(loss)
            self._supervision.went_back(loss, said.alarms, self._clock.now())
            seen_to.set_result(None)


def _uplink_settings(settings: Settings, journal: Journal) -> UplinkSettings:
    return UplinkSettings(
        broker=settings.broker,
        root=settings.topics,
        source=settings.source,
        boot=journal.boot,
        version=__version__,
        simulated=settings.simulated,
        commands=bool(settings.keys),
    )


def _judge(settings: Settings, clock: Clock, nonces: Nonces, time: CommandTime) -> Judge:
    """Make the judge of commands; the library for signatures is loaded only if there are keys."""
    if not settings.keys:
        return NoKeys(clock)
    from gateway.cloud.commands.verify import Verifier, read_keys

    keys, wrong = read_keys(settings.keys)
    for text in wrong:
        _log.error("a key that cannot be used", why=text)
    return Verifier(keys, settings.source, clock, nonces, time)


def _command_time(journal: Journal, clock: Clock) -> CommandTime:
    """Make the time by which commands are judged. A file that was set aside shows what the clock was at its time."""
    newest, aside = journal.newest or 0.0, journal.quarantined_file
    if aside is not None:
        try:
            newest = max(newest, aside.stat().st_mtime)
        except OSError as error:
            _log.warning("the damaged store does not say when it was written", why=str(error))
    return CommandTime(journal, newest, journal.memory.get(COMMAND_TIME), clock.now())
