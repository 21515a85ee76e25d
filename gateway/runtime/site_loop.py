"""The one writer of the site: takes inputs in turn, has them decided, has what follows kept and done.

An exception while an input is decided ends the process; the input is written down first (see `poison`).
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
"""Makes a site from its settings and the seed of its ids: `Site`, or in tests one with a fault."""

Act = ReadNow | Operate | Perform | KeepPictures | Reply
"""What a step wants done."""

Change = tuple[str, Mapping[str, Json] | None]
"""Of the alarms that stand: the key in the memory and the alarm; None: it stands no more."""

_ASIDE = 8
"""Memories that were set aside and are kept."""
_TURN_S = 0.01
"""Deciding gives way to the rest of the loop after that time: first of all to the writes that were ordered."""
_ROOM_AGAIN_S = 0.1
"""A command or a passage that waits for room in the journal is looked at again after that time."""


class Executor(Protocol):
    """Who carries out what a step wants done."""

    def carry_out(self, act: Act) -> None:
        """Begin it; never waits."""
        ...


class Annunciates(Protocol):
    """Who tells the world which alarms stand."""

    def set_standing(self, alarms: Mapping[str, Mapping[str, Json]], upto: int) -> None:
        """The alarms after a commit, and the sequence of the last alarm event in them."""
        ...


class Bystander(Protocol):
    """Who looks on."""

    def emitted(self, effects: Sequence[Effect], now: Instant) -> None:
        """A step is on its way into the journal."""
        ...

    def kept(self, effects: Sequence[Effect]) -> None:
        """A step was committed."""
        ...


class CurrentSite:
    """The site that decides, and what is committed of it, for who looks at it. `seed`: of its ids.

    Another site takes its place if what is remembered cannot be used.
    """

    def __init__(self, settings: SiteSettings, seed: bytes, brain: Brain = Site) -> None:
        self._settings = settings
        self._seed = seed
        self._brain = brain
        self.site = brain(settings, seed)
        self.standing: dict[str, Mapping[str, Json]] = {}
        """The alarms that stand, as they are committed, by their key in the memory."""
        self.stepped = 0.0
        """Monotonic time of the last step, or when it was last seen that there was none to take."""

    def begin_anew(self) -> None:
        """A site without memory."""
        self.site = self._brain(self._settings, self._seed)

    def step(self, item: Input, now: Instant) -> Sequence[Effect]:
        """Decide one input."""
        self.stepped = now.mono
        return self.site.step(item, now)

    def idle(self, now: Instant) -> None:
        """There is nothing to decide."""
        self.stepped = now.mono

    def committed(self, changes: Iterable[Change]) -> None:
        """These alarms stand otherwise."""
        for key, alarm in changes:
            if alarm is None:
                self.standing.pop(key, None)
            else:
                self.standing[key] = alarm

    def interlocked(self) -> str | None:
        """Why nothing about the configuration may change now; None: nothing forbids it."""
        return self.site.interlocked()

    def scales(self) -> Mapping[str, Mapping[str, Json]]:
        """By camera its scale of confidence, and how that is known."""
        return self.site.scales()

    def rounds(self) -> Mapping[str, Json]:
        """The runs under way and the open findings, for who looks on."""
        return self.site.rounds()

    def tested(self) -> frozenset[str]:
        """Subjects of the alarms that stand as a test."""
        return self.site.tested()

    def under_test(self) -> dict[str, str]:
        """By zone that is tested when its test ends, for who looks on."""
        return self.site.under_test()

    def gates(self, now: Instant) -> dict[str, Json]:
        """How each gate stands, for who looks on."""
        return self.site.gates(now)


class Decisions:
    """The one who steps the site. `executor` carries out, `world` is told what stands, `bystanders` look on.

    What moves or answers leaves after the commit of its step, so that nothing moves twice over a kill; confirm
    reads, holds by fire and the releases of pulses never wait for it.
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
        """The last order of each point: one that has waited for its commit meanwhile must not be written after it."""
        self._ahead: dict[str, Mapping[str, Json]] = {}
        """Fires that are told before their commit, because the store is slow."""
        self._upto = 0
        """The last alarm event that is in what stands."""

    def restore(self, folder: Path) -> None:
        """Take up what had to survive, and say that we are up. What cannot be taken up is set aside in `folder`."""
        journal = self._journal
        aside = None
        if self._poison.hollow:
            _log.critical("what is remembered ended the process three times")
            aside = self._set_aside(folder)
        else:
            try:
                self._current.site.restore(journal.memory)
            except Exception:  # noqa: BLE001 - whatever it is, the site must begin without it
                _log.critical("what is remembered cannot be taken up", exc_info=True)
                aside = self._set_aside(folder)
        if aside is None:
            stood = ((key, value) for key, value in journal.memory.items() if key.startswith(MEMORY))
            self._current.committed((key, value) for key, value in stood if isinstance(value, Mapping))
        self._tell_standing(journal.last(Stream.ALARM))
        now = self._clock.now()
        damaged = journal.quarantined_file
        # A clock that ran ahead before is no reason to say that the time was watched.
        blind_from = None if journal.told is None else min(journal.told, now.wall)
        self.step(Started(now, __version__, blind_from, damaged.name if damaged else None))
        if aside is not None:
            self.step(SetAside(aside, now))
        if journal.loss is not None:
            self.step(WentBack(journal.loss.data(), (), now))

    async def run(self) -> None:
        """Decide until cancelled.

        While the journal has no room, commands and passages wait. What comes from the field never does: it is decided
        and acted on, and the journal sheds what counts least.
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
        """One input by way of the door. Raises what the site raises, after it was written down."""
        for admitted in self._poison.admit(entry.passage if isinstance(entry, HandedIn) else entry):
            self.step(admitted)
        if isinstance(entry, HandedIn):
            self._journal.append([], then=entry.accepted.set)

    def step(self, item: Input) -> None:
        """One input past the door."""
        now = self._clock.now()
        try:
            effects = self._current.step(item, now)
            if effects:
                self._act(effects, now)
            if isinstance(item, WentBack):
                self._tell_standing(self._journal.last(Stream.ALARM))
            self._wind(now)
        except Exception:  # of any kind: written down, then raised on
            self._poison.blame(item)
            raise

    async def last_word(self, reason: str, timeout: float) -> None:
        """Decide what came in before the end, say that we stop, and wait for the commit, `timeout` seconds at most."""
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
        """The step is committed: what stands now may be told, what it wants done is done."""
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
        """Behind a slow disk people know of a fire before it is committed, and that it is not."""
        if not self._journal.slow or self._journal.lost:
            return
        fires = {key: alarm for key, alarm in changes if alarm is not None and alarm.get("kind") == "fire"}
        if fires:
            self._ahead.update({key: {**alarm, "uncommitted": True} for key, alarm in fires.items()})
            self._world.set_standing(self._current.standing | self._ahead, self._upto)

    def _wind(self, now: Instant) -> None:
        """Set the alarm clock for the site's next deadline."""
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
        """Begin with an empty memory; the old one is kept beside the journal. The path, or why there is none."""
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
    """Which alarms stand otherwise after this step."""
    changes: list[Change] = []
    for effect in kept:
        match effect:
            case Remember(key, value) if key.startswith(MEMORY) and isinstance(value, Mapping):
                changes.append((key, value))
            case Forget(key) if key.startswith(MEMORY):
                changes.append((key, None))
    return changes


def _at_once(act: Act) -> bool:
    return isinstance(act, ReadNow) or (isinstance(act, Operate) and act.at_once)
