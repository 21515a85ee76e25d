"""Finds out which of our messages a broker hangs up on. Pure.

Some brokers end the connection when they deny a publish, after a refusal or instead of one. After three consecutive
connections that soon ended with something unanswered, the next ones have only one message in flight. The message that
was refused on such a connection, or else the one in flight when it ended, is the suspect, unless the broker has
accepted that very message meanwhile. After three times it is certain. A bad link ends at varying messages and is not
mistaken for this.
"""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

_SOON_S = 10.0
_HANG_UPS = 3


class Suspect(NamedTuple):
    """One message: a row of a stream, or the content of a topic that is not a stream (`n` is None)."""

    topic: str
    n: int | None = None


class Blame:
    """Times in seconds."""

    def __init__(self) -> None:
        self._breaks = 0
        self._blamed: Counter[Suspect] = Counter()
        self._refused: Suspect | None = None
        self._careful_until: float | None = None

    @property
    def careful(self) -> bool:
        """True if connections end so often that only one message at a time should be in flight."""
        return self._breaks >= _HANG_UPS

    def calm(self, now: float) -> bool:
        """This connection has lasted: clear all suspicion."""
        if self._careful_until is None:
            self._careful_until = now + _SOON_S
        if now >= self._careful_until:
            self._breaks = 0
        return not self.careful

    def answered(self, message: Suspect, *, refused: bool) -> None:
        """The broker's PUBACK for a message."""
        if refused:
            self._refused = message
        elif self._blamed:
            self._blamed.pop(message, None)

    def ended(self, messages: Collection[Suspect], lived: float, *, hung_up: bool) -> Suspect | None:
        """A connection has ended with these messages unanswered. Returns the one that certainly caused it, if known."""
        self._careful_until = None
        refused, self._refused = self._refused, None
        if not hung_up or not (messages or refused) or lived >= _SOON_S:
            self._breaks = 0
            return None
        careful = self.careful
        self._breaks += 1
        if not careful or (refused is None and len(messages) != 1):
            return None
        message = refused or next(iter(messages))
        self._blamed[message] += 1
        if self._blamed[message] < _HANG_UPS:
            return None
        del self._blamed[message]
        self._breaks = 0
        return message
