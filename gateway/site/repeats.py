"""Commands that were accepted, so that none runs twice, also after restarts and clock changes.

Each is remembered while its token is valid by a clock that runs on, or for a day if it moves something or quiets a
fire. When one is forgotten, commands of its key with an `exp` no later than its own are no longer accepted: one of
them could be the same command, sent again after the clock was set back.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from gateway.commands import COMMANDS
from gateway.model import DAY_S, Command, Effect, Forget, Instant, Json, Remember
from gateway.site.deadlines import Deadlines

JTI = "jti/"
"""Deadline of the memory of a command."""

_MEMORY = "command/"
_FORGOTTEN = "commands-forgotten/"
"""By key: the latest signed `exp` of forgotten commands."""
_LEEWAY_S = 30.0
_SHARE = 1000
"""The most commands of one key that are remembered, so that no key blocks another or fills the memory."""
_SHARE_URGENT = 10_000
"""The same for commands that open gates or confirm fires, which have a share of their own."""


class Repeats:
    """The accepted commands by key and `jti`, with what is kept of each."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._known: dict[str, Mapping[str, Json]] = {}
        self._shares: Counter[tuple[str, bool]] = Counter()
        """The number of entries in `_known`, by key and urgency."""
        self._forgotten: dict[str, float] = {}

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the accepted commands."""
        for key, value in memory.items():
            if key.startswith(_MEMORY) and isinstance(value, Mapping):
                self._known[key] = value
                self._shares[_share(key, value)] += 1
            elif key.startswith(_FORGOTTEN) and isinstance(value, int | float):
                self._forgotten[key.removeprefix(_FORGOTTEN)] = float(value)

    def find(self, kid: str | None, jti: str | None) -> Mapping[str, Json] | None:
        """What is kept of a command, if it was accepted."""
        return self._known.get(f"{_MEMORY}{kid}/{jti}")

    def all(self) -> list[tuple[str, str, Mapping[str, Json]]]:
        """Key, `jti` and what is kept of each."""
        return [(*_names(key), value) for key, value in self._known.items()]

    def is_full(self, item: Command) -> bool:
        """True if this key's share is full."""
        urgent = _is_urgent(item.cmd)
        return self._shares[item.kid, urgent] >= (_SHARE_URGENT if urgent else _SHARE)

    def may_be_one(self, item: Command) -> bool:
        """True if the command may be a forgotten one. A valid nonce shows that it is not."""
        if item.fresh or item.signed_exp is None:
            return False
        return item.signed_exp <= self._forgotten.get(item.kid, 0.0)

    def begin(self, item: Command, now: Instant) -> Iterator[Effect]:
        """Accept a command; it is remembered with the first `keep`."""
        key, urgent = f"{_MEMORY}{item.kid}/{item.jti}", _is_urgent(item.cmd)
        declared = COMMANDS.get(item.cmd)
        long = item.fresh or not now.synced or (declared is not None and declared.remembered_for_a_day)
        seconds = DAY_S if long else item.exp - now.wall + _LEEWAY_S
        yield from self._deadlines.set(JTI + key, seconds, now, by_age=True)
        self._known[key] = _marks({"urgent": urgent, "exp": item.signed_exp})
        self._shares[item.kid, urgent] += 1

    def keep(self, kid: str, jti: str, value: Mapping[str, Json]) -> Iterator[Effect]:
        """Keep the state of an accepted command."""
        key = f"{_MEMORY}{kid}/{jti}"
        if key in self._known:
            value = self._known[key] = {**value, **_marks(self._known[key])}
            yield Remember(key, value)

    def forget(self, key: str) -> Iterator[Effect]:
        """Forget the command whose deadline `key` (without `JTI`) has come."""
        known = self._known.pop(key, None)
        if known is None:
            return
        kid, urgent = _share(key, known)
        self._shares[kid, urgent] -= 1
        yield Forget(key)
        exp = known.get("exp")
        if isinstance(exp, int | float) and exp > self._forgotten.get(kid, 0.0):
            self._forgotten[kid] = float(exp)
            yield Remember(_FORGOTTEN + kid, float(exp))


def _is_urgent(cmd: str) -> bool:
    return cmd in COMMANDS and COMMANDS[cmd].urgent


def _names(key: str) -> tuple[str, str]:
    kid, _, jti = key.removeprefix(_MEMORY).partition("/")
    return kid, jti


def _share(key: str, known: Mapping[str, Json]) -> tuple[str, bool]:
    """The share that it counts for: key and urgency."""
    return _names(key)[0], bool(known.get("urgent"))


def _marks(known: Mapping[str, Json]) -> dict[str, Json]:
    """What is kept of a command beside its reply."""
    return {name: value for name in ("urgent", "exp") if (value := known.get(name))}
