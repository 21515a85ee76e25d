"""A new version of the program, from a package: tried, then kept or rolled back (docs/upgrade.md).

The package has kept the previous tree and noted what answered then (`gateway.package`); the launcher counts starts.
This module watches the trial to its end and reports the result.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from gateway import __version__
from gateway.clock import Clock
from gateway.log import logger
from gateway.model import Emit, Instant, Json, Remember, Stream
from gateway.new_id import new_id
from gateway.package import BACK, KEPT, ON_TRIAL, Package, package, schema_of
from gateway.runtime.reconfigure import Surroundings
from gateway.runtime.trial import Pending, Phase, Trial, Verdict
from gateway.safe_write import replace_file

_log = logger(__name__)

TOLD = "process/upgrade-told"
"""Memory key: the id of the roll-back whose event is in the journal."""
TRIAL_S = 300.0
STEADY_S = 75.0
"""A version must run at least this long to prove itself; longer than `TimeoutStartSec=` of the unit."""
_LOOK_S = 0.5
_WHAT_IT_IS = ("version", "upgrade", "phase")
"""If another process has changed these (`upgrade --undo`, another upgrade), our state is no longer valid."""


class Upgrade:
    """What this start has to do about an upgrade; nothing if the program was not installed from a package."""

    def __init__(self, place: Package | None = None) -> None:
        self._place = place or package()
        self._state: Mapping[str, Any] = {} if self._place is None else self._place.state()
        self.ready = asyncio.Event()
        """Set when READY was sent to the service manager; a trial is judged from then on."""

    @property
    def on_trial(self) -> bool:
        """True if this is the installed version, has not proved itself, and there is one to go back to."""
        place = self._place
        return (
            place is not None
            and not place.is_previous
            and self._state.get("phase") == ON_TRIAL
            and self._state.get("version") == __version__
            and place.kept() is not None
        )

    def schema(self, newest: int) -> int:
        """The schema to make or migrate a store to: during a trial the previous version must be able to read it.

        `newest`: that of this version.
        """
        kept = self._place.kept() if self._place is not None and self.on_trial else None
        return newest if kept is None else min(newest, schema_of(kept))

    def opened(self, schema: int) -> None:
        """Note that the store has this schema from now on, which an older version may not be able to read."""
        if self._state and self._state.get("schema") != schema:
            self._save(schema=schema)

    def stopped(self) -> None:
        """Note that the process was asked to stop or begin anew during a trial, so this is not a failed start."""
        if self.on_trial:
            self._save(starts=max(0, int(self._state["starts"]) - 1))

    async def watch(
        self,
        clock: Clock,
        around: Surroundings,
        *,
        every: float = _LOOK_S,
    ) -> str | None:
        """Watch a trial to its end. Returns why the process must begin anew from the kept tree; None: it need not.

        `every`: seconds between checks.
        """
        place = self._place
        if place is None or not self.on_trial:
            return None
        await self.ready.wait()
        note = place.note()
        trial = _trial(note, clock.now(), around.lines())
        _log.warning("a new version is on trial", version=__version__, before=note.get("kept"))
        while self._state.get("phase") == ON_TRIAL:
            verdict = trial.judge(clock.now().mono, around.answering(), connected=around.connected())
            if verdict is Verdict.KEEP and await asyncio.to_thread(self._save, phase=KEPT):
                _log.info("the new version is kept", version=__version__)
                return None
            if verdict is Verdict.BACK and await asyncio.to_thread(self._save, phase=BACK, reason=trial.reason()):
                _log.error("the new version is rolled back", version=__version__, why=trial.reason())
                return f"{__version__} is rolled back: {trial.reason()}"
            await asyncio.sleep(every)
        return None

    def told(self, memory: Mapping[str, Json], now: Instant) -> list[Emit | Remember]:
        """The effects that report a roll-back before this start, for one commit; none if the journal has them."""
        place, state = self._place, self._state
        if place is None or not place.is_previous or state.get("phase") != BACK or memory.get(TOLD) == state.get("id"):
            return []
        data: dict[str, Json] = {
            "by": "package",
            "reason": state.get("reason"),
            "version": __version__,
            "rolled_back": str(state.get("version")),
        }
        id_ = new_id(now)
        return [Emit(Stream.AUDIT, "config.rolled-back", None, data, id_, now), Remember(TOLD, str(state.get("id")))]

    def _save(self, **changed: Json) -> bool:
        """Change the state durably; false, with a line in the log, if that fails or somebody else has changed it."""
        state = {**self._state, **changed}
        try:
            if self._place is not None:
                there = self._place.state()
                if any(there.get(key) != self._state.get(key) for key in _WHAT_IT_IS):
                    _log.warning("the state of the upgrade was changed meanwhile: that holds", phase=there.get("phase"))
                    self._state = {}  # it no longer describes this process
                    return False
                replace_file(self._place.state_file, orjson.dumps(state), 0o640)
        except OSError as error:
            _log.error("what became of the upgrade cannot be written", why=str(error))
            return False
        self._state = state
        return True


def _trial(note: Mapping[str, Any], now: Instant, lines: Collection[str]) -> Trial:
    seconds = note.get("trial")
    pending = Pending(
        id="",
        phase=Phase.TRIAL,
        new=__version__,
        old=str(note.get("kept")),
        trial=float(seconds) if isinstance(seconds, int | float) else TRIAL_S,
        lines=tuple(str(line) for line in note.get("lines") or ()),
        by="package",
    )
    return Trial(pending, now.mono, lines, reached=not note.get("connected"), steady=STEADY_S)
