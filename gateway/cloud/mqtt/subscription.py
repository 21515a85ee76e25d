"""The subscription to commands: when to ask for it, and how the broker answered. Pure.

Some brokers end the connection when they deny a SUBSCRIBE. So if a connection ends while the SUBSCRIBE is unanswered,
the next connection subscribes only after it has been up for a while. If that one ends the same way, no subscription is
tried for ten minutes, so that events flow. Times are monotonic seconds.
"""

from gateway.cloud.mqtt.codec import FAILURE, reason

_RETRY_S = 600.0
_CALM_S = 5.0
"""After the first suspicion a connection must last this long before the subscription is tried again."""
_ANSWER_S = 10.0
_SUSPICIONS = 2


class Subscription:
    """The state of the subscription. `wanted` false: there are no commands, so nothing is ever subscribed."""

    def __init__(self, *, wanted: bool) -> None:
        self.trouble = ""
        """What is wrong, for people; empty: nothing."""
        self._wanted = wanted
        self._granted = False
        self._asked_at: float | None = None
        self._not_before = float("-inf")
        self._ends = 0
        """Consecutive connections that ended at the SUBSCRIBE."""

    @property
    def settled(self) -> bool:
        """True if the status `online` need not wait for the subscription."""
        return not self._wanted or self._granted or (self._asked_at is None and self._not_before > float("-inf"))

    @property
    def asked(self) -> bool:
        """True while the broker has not answered the SUBSCRIBE."""
        return self._asked_at is not None

    def connected(self, now: float) -> None:
        """A new connection has begun."""
        self._granted, self._asked_at = False, None
        if not self._ends:
            self._not_before = float("-inf")
        elif self._ends < _SUSPICIONS:
            self._not_before = now + _CALM_S

    def due(self, now: float) -> bool:
        """True if the SUBSCRIBE should be sent now."""
        return self._wanted and not self._granted and self._asked_at is None and now >= self._not_before

    def ask(self, now: float) -> None:
        """The SUBSCRIBE is being sent."""
        self._asked_at = now

    def answered(self, code: int, now: float) -> None:
        """Take the broker's SUBACK."""
        self._asked_at = None
        self._ends = 0
        self._granted = code < FAILURE
        self.trouble = "" if self._granted else f"the broker refuses the subscription to commands: {reason(code)}"
        if not self._granted:
            self._not_before = now + _RETRY_S

    def ended(self, now: float, *, hung_up: bool) -> None:
        """The connection has ended; `hung_up`: not by us."""
        if self._asked_at is not None and hung_up:
            self._suspect(now, "the broker ends the connection at the subscription to commands")
        self._asked_at = None
        self._granted = False

    def look(self, now: float) -> None:
        """Call about once a second: stops waiting for a broker that does not answer."""
        if self._asked_at is not None and now - self._asked_at >= _ANSWER_S:
            self._ends = _SUSPICIONS
            self._suspect(now, "the broker does not answer the subscription to commands")
            self._asked_at = None

    def _suspect(self, now: float, text: str) -> None:
        self._ends = min(self._ends + 1, _SUSPICIONS)
        if self._ends >= _SUSPICIONS:
            self.trouble = text
            self._not_before = now + _RETRY_S
