"""Which of our messages a broker hangs up on. Pure.

Some brokers end the connection at a publish that they deny, after a refusal or instead of it. When three connections in
a row end soon, with something unanswered, the next ones have one message in flight: what was refused on such a
connection, else what was under way when it ended, is to blame, unless the broker has taken that very message meanwhile.
Three times makes it certain. A link that is just bad ends at any message, and is not mistaken.
"""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

_SOON_S = 10.0
_HANG_UPS = 3


class Suspect(NamedTuple):
    """One message: the row of a stream, or what is on a topic that is no stream (`n` is None)."""

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
        """Connections end so often that one message at a time should be under way."""
        return self._breaks >= _HANG_UPS

    def calm(self, now: float) -> bool:
        """This connection has lasted: all is well again."""
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
        """A connection is over with these messages unanswered: the one that the broker surely hangs up on."""
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
