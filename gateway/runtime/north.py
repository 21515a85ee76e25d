"""Everything between the site and the broker, wired: uplink, commands in, replies out, replay, another site file.

broker ─▶ Exchange ─▶ inbox        Reply ─▶ Exchange ─▶ broker        Perform ─▶ Errands ─▶ inbox
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from gateway import __version__
from gateway.clock import Clock
from gateway.cloud.commands.command_time import MEMORY as COMMAND_TIME
from gateway.cloud.commands.command_time import CommandTime
from gateway.cloud.commands.exchange import Exchange, Judge, no_keys
from gateway.cloud.commands.replay import Replay
from gateway.cloud.journal.journal import Journal
from gateway.cloud.mqtt.recall import Recalled, recalled
from gateway.cloud.mqtt.types import Delivery
from gateway.cloud.mqtt.uplink import Callbacks, Uplink
from gateway.cloud.mqtt.uplink import Settings as UplinkSettings
from gateway.field.lines import Line
from gateway.log import logger
from gateway.model import Emit, Errand, Input, Perform, Remember, Reply
from gateway.runtime.perform import Errands, of_configuration, of_history
from gateway.runtime.reconfigure import Reconfiguration
from gateway.runtime.self_alarms import Supervision
from gateway.settings.types import Settings

_log = logger(__name__)

_LOOK = 0.25
_KEEP_TIME_S = 10.0
_REPLIES_LEAVE = 1.0
"""Seconds that a reply may take to the broker before the process begins anew."""


class Task(NamedTuple):
    """What runs as long as the gateway does."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]


class North:
    """`put`: the inbox. Without `takes_commands` none is read in this life, without `file` it cannot be changed."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        clock: Clock,
        supervision: Supervision,
        put: Callable[[Input], Awaitable[None]],
        *,
        takes_commands: bool,
        file: Reconfiguration | None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._supervision = supervision
        self._put = put
        self._takes_commands = takes_commands
        self.ignored = 0
        """Commands that were not looked at."""
        self._file = file
        shared = UplinkSettings(
            broker=settings.broker,
            root=settings.topics,
            source=settings.source,
            boot=journal.boot,
            version=__version__,
            simulated=settings.simulated,
            commands=bool(settings.keys),
        )
        self.uplink = Uplink(
            shared,
            journal,
            clock,
            os.urandom,
            Callbacks(
                self._commanded,
                self._refused,
                supervision.unheard,
                supervision.link,
                supervision.heard,
                self._trouble,
                lambda: journal.numbers,
                self._recalled,
            ),
        )
        self._exchange = Exchange(shared, self._judge(), clock, os.urandom, put=put, send=self.uplink.reply)
        self._recall: asyncio.Queue[Recalled] = asyncio.Queue(1)
        self._replay = Replay(journal.history, self.uplink.wake)
        self.uplink.replay_from(self._replay.take)
        self._errands = Errands(clock, put, {})
        self._lines: Mapping[str, Line] = {}
        self._interlocked: Callable[[], str | None] = lambda: None
        self._time = self._command_time()

    def wire(
        self, lines: Mapping[str, Line], interlocked: Callable[[], str | None], errands: Mapping[str, Errand]
    ) -> None:
        """What only exists later. `interlocked`: why the configuration may not change now; `errands`: the south's."""
        self._lines = lines
        self._interlocked = interlocked
        table = {**errands, **of_history(self._replay)}
        if self._file is not None:
            table |= of_configuration(self._file, self.answering, interlocked)
        self._errands = Errands(self._clock, self._put, table)

    def recall(self) -> None:
        """Before the first step: a trial of the site file whose outcome is in the journal is over."""
        if self._file is not None:
            self._file.recall(self._journal.memory)

    def tasks(self) -> list[Task]:
        """What is to run beside the uplink."""
        tasks = [
            Task("errands", self._errands.run),
            Task("replay", self._replay.run),
            Task("recall", self._take_recalled),
            Task("command time", self._keep_time),
        ]
        if self._takes_commands:
            tasks.append(Task("exchange", self._exchange.run))
        return tasks

    def reply(self, act: Reply) -> None:
        """Answer a command."""
        self._exchange.reply(act)

    def perform(self, act: Perform) -> None:
        """Do what the site asks to have done outside of it."""
        self._errands.perform(act)

    # ---- another site file ------------------------------------------------------------------------

    async def until_restart_due(self) -> None:
        """See a site file on trial to its end; returns when the process is to begin anew, and may."""
        file = self._file
        if file is None:
            await asyncio.get_running_loop().create_future()
            return
        await file.watch(
            self._clock, [*self._lines], self.answering, lambda: self.uplink.snapshot().connected, self._tell
        )
        while True:
            await asyncio.sleep(_LOOK)
            if file.restart_due and self._interlocked() is None:
                await asyncio.sleep(_REPLIES_LEAVE)
                if self._interlocked() is None:
                    return

    def stopped(self) -> None:
        """Somebody asked us to stop."""
        if self._file is not None:
            self._file.stopped()

    def answering(self) -> set[str]:
        """Lines on which something answers."""
        states = {name: line.snapshot() for name, line in self._lines.items()}
        return {
            name for name, state in states.items() if state.up and any(one.answering for one in state.devices.values())
        }

    async def _tell(self, effects: list[Emit | Remember]) -> None:
        accepted = asyncio.Event()
        self._journal.append(effects, then=accepted.set)
        await accepted.wait()

    # ---- commands ---------------------------------------------------------------------------------

    def _judge(self) -> Judge:
        """Who may command: the library for signatures is loaded only where somebody may."""
        if not self._settings.keys or not self._takes_commands:
            return no_keys(self._clock.now)
        from gateway.cloud.commands.verify import Verifier, read_keys

        keys, wrong = read_keys(self._settings.keys)
        for text in wrong:
            _log.error("a key that cannot be used", why=text)
        return Verifier(
            keys,
            self._settings.source,
            self._clock.now,
            self._nonces,
            born=lambda: self._time.born(self._clock.now()),
            floor=lambda: self._time.floor(self._clock.now()),
        ).verify

    def _command_time(self) -> CommandTime:
        """By which time commands are judged; a file that was set aside was written while the clock showed its time."""
        journal, now = self._journal, self._clock.now()
        newest, aside = journal.newest or 0.0, journal.quarantined_file
        if aside is not None:
            try:
                newest = max(newest, aside.stat().st_mtime)
            except OSError as error:
                _log.warning("the damaged store does not say when it was written", why=str(error))
        return CommandTime(lambda: journal.born, newest, journal.memory.get(COMMAND_TIME), now)

    async def _keep_time(self) -> None:
        """Remember what no later clock may undo."""
        while True:
            changed = self._time.changed(self._clock.now())
            if changed is not None:
                self._journal.append([changed])
            await asyncio.sleep(_KEEP_TIME_S)

    def _recalled(self, payload: bytes | None) -> bool:
        """What an earlier life left on `alarm/active`; True: nothing follows from it."""
        said = None if payload is None else recalled(payload, self._settings.source)
        if said is None or self._recall.full():
            return True
        journal = self._journal
        if journal.judged(said.numbers) is None and (said.numbers.journal == journal.journal_id or not said.alarms):
            return True
        self._recall.put_nowait(said)
        return False

    async def _take_recalled(self) -> None:
        """Begin a new journal, if the store went back by what an earlier life said, and tell the site."""
        while True:
            said = await self._recall.get()
            loss = self._journal.judged(said.numbers)
            if loss is not None:
                await self._journal.went_back(loss)
            self._supervision.went_back(loss, said.alarms, self._clock.now())
            self.uplink.resume()

    def _nonces(self) -> tuple[str, ...]:
        return self.uplink.nonces()

    def _commanded(self, topic: str, payload: bytes, delivery: Delivery) -> bool:
        if self._takes_commands:
            return self._exchange.arrived(topic, payload, delivery)
        if not self.ignored:
            _log.warning("commands are off: what comes is acknowledged and not read", topic=topic)
        self.ignored += 1
        delivery.acknowledge()
        return True

    def _trouble(self, name: str, text: str) -> None:
        self._supervision.say(f"gateway/{name}", text, self._clock.now())

    def _refused(self, stream: str, code: int | None) -> None:
        if code is None:
            _log.info("stream flows again", stream=str(stream))
        else:
            _log.error("the broker refuses a stream", stream=str(stream), code=code)
        self._supervision.refused(stream, code, self._clock.now())
