"""The only loop that steps the site: takes inputs in turn, has the site decide, commits and carries out the effects.

An exception while an input is decided ends the process; the input is recorded first (see `poison`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import orjson

from gateway import __version__
from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.log import logger
from gateway.model import (
    Effect,
    Emit,
    Forget,
    Input,
    Instant,
    Json,
    KeepPictures,
    Operate,
    Outcome,
    Perform,
    ReadNow,
    Remember,
    Reply,
    SetAside,
    Started,
    Stopping,
    Stream,
    Tick,
    WentBack,
)
from gateway.runtime.inbox import FROM_THE_FIELD, Entry, HandedIn, Inbox, Rank
from gateway.runtime.poison import Poison
from gateway.safe_write import replace_file
from gateway.site.alarms import MEMORY
from gateway.site.settings import SiteSettings
from gateway.site.site import Site

_log = logger(__name__)

Brain = Callable[[SiteSettings, bytes], Site]
"""Makes a site from its settings and the seed of its ids: `Site`, or in tests a faulty one."""

Act = ReadNow | Operate | Perform | KeepPictures | Reply
"""An effect that is carried out."""

Change = tuple[str, Mapping[str, Json] | None]
"""A change of the standing alarms: the memory key and the alarm; None: it no longer stands."""

_ASIDE = 8
"""How many memories that were set aside are kept."""
_TURN_S = 0.01
"""After deciding for this long, other tasks of the loop get a turn, above all ordered writes."""
_ROOM_AGAIN_S = 0.1
"""A command or passage that waits for room in the journal is checked again after this time."""


class Executor(Protocol):
    """Carries out the effects of a step."""

    def carry_out(self, act: Act) -> None:
        """Begin an effect; never waits."""
        ...


class Annunciates(Protocol):
    """Publishes which alarms stand."""

    def set_standing(self, alarms: Mapping[str, Mapping[str, Json]], upto: int) -> None:
        """Set the standing alarms after a commit, and the sequence of the last alarm event in them."""
        ...


class Bystander(Protocol):
    """An observer."""

    def emitted(self, effects: Sequence[Effect], now: Instant) -> None:
        """Take the effects of a step that are not committed yet."""
        ...

    def kept(self, effects: Sequence[Effect]) -> None:
        """Take the effects of a committed step."""
        ...


class CurrentSite:
    """The site, and its committed state for observers. `seed`: of its ids.

    Another site takes its place if what is remembered cannot be used.
    """

    def __init__(self, settings: SiteSettings, seed: bytes, brain: Brain = Site) -> None:
        self._settings = settings
        self._seed = seed
        self._brain = brain
        self.site = brain(settings, seed)
        self.standing: dict[str, Mapping[str, Json]] = {}
        """The committed standing alarms, by memory key."""
        self.stepped = 0.0
        """Monotonic time of the last step, or when the loop last had nothing to do."""

    def begin_anew(self) -> None:
        """Replace the site by one without memory."""
        self.site = self._brain(self._settings, self._seed)

    def step(self, item: Input, now: Instant) -> Sequence[Effect]:
        """Decide one input."""
        self.stepped = now.mono
        return self.site.step(item, now)

    def idle(self, now: Instant) -> None:
        """Note that there is nothing to decide."""
        self.stepped = now.mono

    def committed(self, changes: Iterable[Change]) -> None:
        """Apply committed changes of alarms."""
        for key, alarm in changes:
            if alarm is None:
                self.standing.pop(key, None)
            else:
                self.standing[key] = alarm

    def interlocked(self) -> str | None:
        """Why the configuration may not be changed now; None: it may."""
        return self.site.interlocked()

    def scales(self) -> Mapping[str, Mapping[str, Json]]:
        """Camera -> its confidence scale, and how it is known."""
        return self.site.scales()

    def rounds(self) -> Mapping[str, Json]:
        """The runs under way and the open findings, for observers."""
        return self.site.rounds()

    def tested(self) -> frozenset[str]:
        """Subjects of standing alarms that belong to a test."""
        return self.site.tested()

    def under_test(self) -> dict[str, str]:
        """Tested zone -> when its test ends, for observers."""
        return self.site.under_test()

    def gates(self, now: Instant) -> dict[str, Json]:
        """Gate -> its state, for observers."""
        return self.site.gates(now)


class Decisions:
    """Steps the site. `executor` carries out effects, `world` publishes standing alarms, `bystanders` observe.

    Orders and replies leave after the commit of their step, so that nothing moves twice after a kill. Confirm reads,
    reads of rounds, holds by fire and releases of pulses never wait for it.
    """

    def __init__(
        self,
        current: CurrentSite,
        inbox: Inbox,
        journal: Journal,
        clock: Clock,
        poison: Poison,
        *,
        executor: Executor,
        world: Annunciates,
        bystanders: Sequence[Bystander],
    ) -> None:
        self._current = current
        self._inbox = inbox
        self._journal = journal
        self._clock = clock
        self._poison = poison
        self._executor = executor
        self._world = world
        self._bystanders = bystanders
        self._tick: asyncio.TimerHandle | None = None
        self._newest: dict[tuple[str, str], str] = {}
        """The last order of each point; an earlier one that waited for its commit must not be written after it."""
        self._ahead: dict[str, Mapping[str, Json]] = {}
        """Fires that are published before their commit because the store is slow."""
        self._upto = 0
        """The sequence of the last alarm event in the standing alarms."""

    def restore(self, folder: Path) -> None:
        """Load the memory and take the first step, `Started`. An unusable memory is set aside in `folder`."""
        journal = self._journal
        aside = None
        if self._poison.hollow:
            _log.critical("what is remembered ended the process three times")
            aside = self._set_aside(folder)
        else:
            try:
                self._current.site.restore(journal.memory)
            except Exception:  # noqa: BLE001 - any error: the site must begin without the memory
                _log.critical("what is remembered cannot be taken up", exc_info=True)
                aside = self._set_aside(folder)
        if aside is None:
            stood = ((key, value) for key, value in journal.memory.items() if key.startswith(MEMORY))
            self._current.committed((key, value) for key, value in stood if isinstance(value, Mapping))
        self._tell_standing(journal.last(Stream.ALARM))
        now = self._clock.now()
        damaged = journal.quarantined_file
        # If the clock ran ahead before, that does not mean that the time was watched.
        blind_from = None if journal.told is None else min(journal.told, now.wall)
        self.step(Started(now, __version__, blind_from, damaged.name if damaged else None))
        if aside is not None:
            self.step(SetAside(aside, now))
        if journal.loss is not None:
            self.step(WentBack(journal.loss.data(), (), now))

    async def run(self) -> None:
        """Decide until cancelled.

        While the journal has no room, commands and passages wait. Inputs from the field never wait: they are decided
        and acted on, and the journal drops the least important events.
        """
        loop = asyncio.get_running_loop()
        yielded = loop.time()
        while True:
            roomy = self._journal.roomy
            item = self._inbox.take(tuple(Rank) if roomy else FROM_THE_FIELD)
            if item is None:
                self._current.idle(self._clock.now())
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if roomy else _ROOM_AGAIN_S):
                        await self._inbox.news()
                yielded = loop.time()
                continue
            self.take(item)
            if loop.time() - yielded >= _TURN_S:
                await asyncio.sleep(0)
                yielded = loop.time()

    def take(self, entry: Entry) -> None:
        """Decide one input, as far as `Poison` admits it. Raises what the site raises, after recording the input."""
        for admitted in self._poison.admit(entry.passage if isinstance(entry, HandedIn) else entry):
            self.step(admitted)
        if isinstance(entry, HandedIn):
            self._journal.append([], then=entry.accepted.set)

    def step(self, item: Input) -> None:
        """Decide one input without asking `Poison`."""
        now = self._clock.now()
        try:
            effects = self._current.step(item, now)
            if effects:
                self._act(effects, now)
            if isinstance(item, WentBack):
                self._tell_standing(self._journal.last(Stream.ALARM))
            self._wind(now)
        except Exception:  # any error: recorded, then raised again
            self._poison.blame(item)
            raise

    async def last_word(self, reason: str, timeout: float) -> None:
        """Decide the remaining inputs, take the step `Stopping`, and wait for its commit, `timeout` seconds at most."""
        accepted = asyncio.Event()
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout / 2
        while loop.time() < until and (item := self._inbox.take()) is not None:
            self.take(item)
        self.step(Stopping(self._clock.now(), reason))
        if self._tick is not None:
            self._tick.cancel()
        self._journal.append([], then=accepted.set)
        try:
            async with asyncio.timeout(timeout):
                await accepted.wait()
        except TimeoutError:
            _log.warning("the last commit is late")

    # ---- what follows from a step -----------------------------------------------------------------

    def _act(self, effects: Sequence[Effect], now: Instant) -> None:
        kept = [effect for effect in effects if isinstance(effect, Emit | Remember | Forget)]
        acts = [effect for effect in effects if not isinstance(effect, Emit | Remember | Forget)]
        later = [act for act in acts if not _at_once(act)]
        if kept or later:
            for one in self._bystanders:
                one.emitted(kept, now)
            upto = self._journal.last(Stream.ALARM) + sum(
                isinstance(effect, Emit) and effect.stream is Stream.ALARM for effect in kept
            )
            changes = _changes(kept)
            self._journal.append(kept, then=partial(self._accepted, kept, changes, later, upto))
            self._tell_ahead(changes)
        for act in acts:
            if isinstance(act, Operate):
                self._newest[act.device, act.point] = act.order
            if _at_once(act):
                self._executor.carry_out(act)

    def _accepted(self, kept: Sequence[Effect], changes: Sequence[Change], acts: Sequence[Act], upto: int) -> None:
        """The step is committed: publish the standing alarms and carry out the effects."""
        for act in acts:
            if isinstance(act, Operate) and self._newest.get((act.device, act.point)) != act.order:
                self._inbox.remind(Outcome(act.order, False, "withdrawn", None, self._clock.now()))
            else:
                self._executor.carry_out(act)
        for key, _ in changes:
            self._ahead.pop(key, None)
        self._current.committed(changes)
        if changes:
            self._tell_standing(upto)
        for one in self._bystanders:
            one.kept(kept)

    def _tell_standing(self, upto: int) -> None:
        self._upto = upto
        self._world.set_standing(self._current.standing | self._ahead, upto)

    def _tell_ahead(self, changes: Sequence[Change]) -> None:
        """With a slow disk, publish a fire before it is committed, marked as uncommitted."""
        if not self._journal.slow or self._journal.lost:
            return
        fires = {key: alarm for key, alarm in changes if alarm is not None and alarm.get("kind") == "fire"}
        if fires:
            self._ahead.update({key: {**alarm, "uncommitted": True} for key, alarm in fires.items()})
            self._world.set_standing(self._current.standing | self._ahead, self._upto)

    def _wind(self, now: Instant) -> None:
        """Set the timer for the site's next deadline."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        due = self._current.site.deadline()
        if due is not None:
            self._tick = asyncio.get_running_loop().call_later(max(0.0, due - now.mono), self._ring)

    def _ring(self) -> None:
        self._tick = None
        self._inbox.remind(Tick(self._clock.now()))

    # ---- a memory that cannot be used -------------------------------------------------------------

    def _set_aside(self, folder: Path) -> str:
        """Begin with an empty memory; keep the old one beside the journal. Returns its path, or why there is none."""
        memory = self._journal.memory
        self._current.begin_anew()
        self._journal.append([Forget(key) for key in memory])
        self._journal.reborn()
        self._poison.forgive()
        at = f"{self._clock.now().wall:.0f}"
        place = folder / f"memory-{at}.json"
        try:
            if len([*folder.glob("memory-*.json")]) >= _ASIDE:
                return "not kept: too many lie there already"
            replace_file(place, orjson.dumps(memory))
        except (OSError, TypeError) as error:
            return f"not kept: {error}"
        return str(place)


def _changes(kept: Sequence[Emit | Remember | Forget]) -> list[Change]:
    """The changes of standing alarms in this step."""
    changes: list[Change] = []
    for effect in kept:
        match effect:
            case Remember(key, value) if key.startswith(MEMORY) and isinstance(value, Mapping):
                changes.append((key, value))
            case Forget(key) if key.startswith(MEMORY):
                changes.append((key, None))
    return changes


def _at_once(act: Act) -> bool:
    return isinstance(act, ReadNow) or (isinstance(act, Operate | Perform) and act.at_once)
