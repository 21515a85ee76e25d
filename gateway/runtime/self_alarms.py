"""Alarms about the gateway itself: store, delivery, clock. Each change goes to the site once, as an input.

Driven by callbacks and by a check once a second; has no task. Times are monotonic seconds.
"""

from collections.abc import Mapping, Sequence

import orjson

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.cloud.journal.witness import Loss
from gateway.cloud.mqtt.types import COMMANDS_DROPPED, COMMANDS_REFUSED, HUNG_UP
from gateway.cloud.outbox import Row
from gateway.driver import SiteInbox
from gateway.kinds import RETAINED
from gateway.log import Allowance, logger
from gateway.model import Effect, Emit, Instant, Json, OwnHealth, SetAside, Stream, WentBack

_log = logger(__name__)

STORE, CLOCK, NOT_DELIVERED = "gateway/store", "gateway/clock", "gateway/not-delivered"
CRASHES, POISON = "gateway/crashes", "gateway/poison"

UNDELIVERED_FOR_S = 10.0
"""How long a fire may be without the broker's acknowledgement, or without a subscriber."""
_UNSYNCED_FOR_S = 600.0
_ASIDE_FOR_S = 600.0
"""How long it is reported that a store was set aside, unless something else is wrong with it."""
_NO_RESERVE_FOR_S = 60.0
_WELL_FOR_S = 10.0
"""The store must work for this long before its alarm clears, so that a stuttering disk makes one alarm."""
_STATS_EVERY_S = 10.0
_FIRES = 1024
_LOGGED = ("zone", "place", "state", "gate", "cause", "by", "commanded", "actual", "text")
"""What the log says about a fire or a gate."""
_WAITING_FOR_TIME = "waiting for time"


class Supervision:
    """The self-alarms; also an observer of the uplink."""

    def __init__(self, journal: Journal, inbox: SiteInbox, clock: Clock) -> None:
        self._journal = journal
        self._inbox = inbox
        self._clock = clock
        self._said: dict[str, bool] = {}
        self._fires: dict[str, float] = {}
        """Event id of a fire that waits for the broker -> since when."""
        self._unheard: dict[str, float] = {}
        """The same for fires that the broker took but nobody is subscribed to."""
        self._before: float | None = None
        """Since when waiting events may include fires of an earlier process."""
        self._unsynced: float | None = None
        """Since when the clock is not synced."""
        self._early = False
        self._aside: tuple[str, float] | None = None
        self._loss: tuple[Loss, float] | None = None
        self._bare: tuple[float, int] | None = None
        self._well_since: float | None = None
        self._stats_at = float("-inf")
        self._log_allowance = Allowance(burst=100, per_minute=60)

    def begin(self, now: Instant, *, fires: bool, untold: bool) -> None:
        """Start. `fires`: a fire stands; `untold`: `not-delivered` stands from the previous process."""
        if untold:
            self._said[NOT_DELIVERED] = False
            self._before = now.mono - UNDELIVERED_FOR_S
        elif fires and self._journal.waiting(Stream.ALARM):
            self._before = now.mono
        for name in (*Stream, *RETAINED):
            self.say(f"{name}/refused", "", now)
        for alarm in (COMMANDS_REFUSED, COMMANDS_DROPPED):
            self.say(f"gateway/{alarm}", "", now)
        aside = self._journal.quarantined_file
        if aside is not None:
            self._aside = aside.name, now.mono  # `Started` reports it
        if self._journal.loss is not None:
            self._loss = self._journal.loss, now.mono  # reported at the start, too
        self.look(now)

    # ---- what happens ------------------------------------------------------------------------------

    def emitted(self, effects: Sequence[Effect], now: Instant) -> None:
        """Take the effects of a step that are not committed yet."""
        for effect in effects:
            if isinstance(effect, Emit):
                self._log_event(effect, now)
            if isinstance(effect, Emit) and _tells_fire(effect) and len(self._fires) < _FIRES:
                self._fires[effect.id] = now.mono

    def kept(self, effects: Sequence[Effect]) -> None:
        """Do nothing after a commit."""

    def _log_event(self, event: Emit, now: Instant) -> None:
        """Log fires and gates, so that the log alone shows what was done and why."""
        is_fire = event.type.startswith("alarm.") and event.data.get("kind") == "fire"
        if not is_fire and not event.type.startswith("gate."):
            return
        refused = self._log_allowance.take(now.mono)
        if refused is None:
            return
        facts = {key: event.data[key] for key in _LOGGED if event.data.get(key) is not None}
        if refused:
            facts["not_shown"] = refused
        _log.info(event.type, subject=event.subject, id=event.id, **facts)

    def heard(self, row: Row) -> None:
        """The broker took the row, and somebody is subscribed."""
        if row.stream is not Stream.ALARM or not (self._fires or self._unheard or self._before is not None):
            return
        self._fires.pop(_id(row), None)
        self._unheard.clear()
        if self._before is not None and not self._journal.waiting(Stream.ALARM):
            self._before = None

    def unheard(self, row: Row) -> None:
        """The broker took the row, but nobody is subscribed."""
        if row.stream is Stream.ALARM and self._fires:
            since = self._fires.pop(id_ := _id(row), None)
            if since is not None:
                self._unheard[id_] = since

    def refused(self, stream: str, code: int | None) -> None:
        """The broker refuses a stream; None: it accepts it again."""
        if code is None:
            _log.info("stream flows again", stream=str(stream))
        else:
            _log.error("the broker refuses a stream", stream=str(stream), code=code)
        text = "" if code is None else f"the broker refuses {stream} with code 0x{code:02x}"
        if code == HUNG_UP:
            text = f"the broker hangs up at each message of {stream}"
        self.say(f"{stream}/refused", text, self._clock.now())

    def trouble(self, name: str, text: str) -> None:
        """Something is wrong with commands; empty: no longer."""
        self.say(f"gateway/{name}", text, self._clock.now())

    def link(self, up: bool, why: str) -> None:
        """The link is connected, or not, and why."""
        self._early = not up and why == _WAITING_FOR_TIME

    def went_back(self, loss: Loss | None, alarms: Sequence[Mapping[str, Json]], now: Instant) -> None:
        """The cloud shows `alarms` from before the present journal; `loss`: what is missing according to it."""
        if loss is not None:
            self._loss = loss, now.mono
        self._inbox.remind(WentBack(None if loss is None else loss.data(), alarms, now))

    # ---- once a second -----------------------------------------------------------------------------

    def look(self, now: Instant) -> None:
        """Judge everything that depends on time."""
        self.say(NOT_DELIVERED, self._undelivered(now.mono), now)
        self.say(CLOCK, self._clock_trouble(now), now)
        self._look_aside(now)
        trouble = self._store(now.mono)
        if trouble:
            self._well_since = None
        elif self._well_since is None:
            self._well_since = now.mono
        if trouble or STORE not in self._said or now.mono - (self._well_since or now.mono) >= _WELL_FOR_S:
            self.say(STORE, trouble, now)

    def _undelivered(self, now: float) -> str:
        late = now - UNDELIVERED_FOR_S
        if any(since <= late for since in self._fires.values()):
            return "a fire waits for the broker"
        if any(since <= late for since in self._unheard.values()):
            return "a fire was told, but nobody listens at the broker"
        if self._before is not None and self._before <= late:
            return "a fire from before the start may wait for the broker"
        return ""

    def _clock_trouble(self, now: Instant) -> str:
        if now.synced:
            if self._unsynced is not None:
                self._journal.clock_synced(now)  # corrects earlier events even if nothing happens now
            self._unsynced = None
        elif self._unsynced is None:
            self._unsynced = now.mono
        if self._journal.clock_doubted:
            return "the clock was set by more than a day: history does not age by it, and it is believed after a day"
        if self._early and not now.synced:
            return "the broker's certificate is not yet valid at the time of this clock"
        if self._unsynced is not None and now.mono - self._unsynced >= _UNSYNCED_FOR_S:
            return "nobody sets this clock"
        return ""

    def _store(self, now: float) -> str:
        journal = self._journal
        if journal.lost:
            return "the store cannot be written: events are kept in memory"
        loss = self._loss is not None and now - self._loss[1] < _ASIDE_FOR_S and self._loss[0]
        if loss and loss.witness == "files":
            return "the files of the store were deleted or replaced: it was begun anew"
        if self._aside is not None and now - self._aside[1] < _ASIDE_FOR_S:
            return f"a damaged store was set aside as {self._aside[0]}"
        if loss:
            return "the store went back in time: committed events are missing in it"
        if journal.slow:
            return "the store is slow: commits take over 0.5 s"
        if self._no_reserve(now):
            return "the disk is full: the room kept for alarms is in use"
        return ""

    def _look_aside(self, now: Instant) -> None:
        """Report damage found while running in the same way as damage found at start."""
        aside = self._journal.quarantined_file
        if aside is not None and (self._aside is None or self._aside[0] != aside.name):
            self._aside = aside.name, now.mono
            self._inbox.remind(SetAside(aside.name, now))
        loss = self._journal.loss
        if loss is not None and (self._loss is None or self._loss[0] is not loss):
            self._loss = loss, now.mono
            self._inbox.remind(WentBack(loss.data(), (), now))

    def _no_reserve(self, now: float) -> bool:
        """True if the reserve was missing at two commits a minute apart; it is made and checked besides commits."""
        if now - self._stats_at >= _STATS_EVERY_S:
            self._stats_at = now
            stats = self._journal.stats()
            if stats.reserve or not stats.commits:
                self._bare = None
            elif self._bare is None:
                self._bare = now, stats.commits
            elif now - self._bare[0] >= _NO_RESERVE_FOR_S and stats.commits > self._bare[1]:
                self._bare = self._bare[0], -1
        return self._bare is not None and self._bare[1] < 0

    def say(self, alarm: str, trouble: str, now: Instant) -> None:
        """Send a change of this alarm to the site; empty `trouble`: it clears."""
        well = not trouble
        if self._said.get(alarm) is not well:
            self._said[alarm] = well
            self._inbox.remind(OwnHealth(alarm, well, trouble, now))


def _tells_fire(event: Emit) -> bool:
    return event.type in ("alarm.raised", "alarm.updated") and event.data.get("kind") == "fire"


def _id(row: Row) -> str:
    return str(orjson.loads(row.payload)["id"])
