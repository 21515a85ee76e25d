"""Which of our messages a broker hangs up on. Pure.

Some brokers end the connection at a publish that they deny, after a refusal or instead of it. When three connections in
a row end soon, with something unanswered, the next ones have one message in flight: what was refused on such a
connection, else what was under way when it ended, is to blame, unless the broker has taken a message on the same topic
meanwhile. Three times makes it certain. A link that is just bad ends at any message, and is not mistaken.
"""

from collections import Counter
from collections.abc import Collection

_SOON = 10.0
_TIMES = 3


class Blame:
    """Times in seconds."""

    def __init__(self) -> None:
        self._breaks = 0
        self._blamed: Counter[str] = Counter()
        self._refused: str | None = None
        self._careful_until: float | None = None

    @property
    def careful(self) -> bool:
        """Connections end so often that one message at a time should be under way."""
        return self._breaks >= _TIMES

    def calm(self, now: float) -> bool:
        """This connection has lasted: all is well again."""
        if self._careful_until is None:
            self._careful_until = now + _SOON
        if now >= self._careful_until:
            self._breaks = 0
        return not self.careful

    def answered(self, topic: str, *, refused: bool) -> None:
        """The broker's PUBACK for a message on this topic."""
        if refused:
            self._refused = topic
        elif self._blamed:
            self._blamed.pop(topic, None)

    def ended(self, topics: Collection[str], lived: float, *, hung_up: bool) -> str | None:
        """A connection is over with these topics unanswered: the one that the broker surely hangs up on."""
        self._careful_until = None
        refused, self._refused = self._refused, None
        if not hung_up or not (topics or refused) or lived >= _SOON:
            self._breaks = 0
            return None
        careful = self.careful
        self._breaks += 1
        if not careful or (refused is None and len(topics) != 1):
            return None
        topic = refused or next(iter(topics))
        self._blamed[topic] += 1
        if self._blamed[topic] < _TIMES:
            return None
        del self._blamed[topic]
        self._breaks = 0
        return topic
