"""The subscription to commands: when to ask for it, and what the broker makes of it. Pure.

Some brokers end the connection at a SUBSCRIBE that they deny. So a connection that ends while one has no answer makes
it the suspect: the next connection asks only after it has been up for a while, and if it ends there again, commands
are given up for ten minutes, so that events flow. Times are monotonic seconds.
"""

from gateway.cloud.mqtt.codec import FAILURE, reason

_RETRY_S = 600.0
_CALM_S = 5.0
"""After the first suspicion a connection must have lasted so long before it is asked for again."""
_ANSWER_S = 10.0
_SUSPICIONS = 2


class Subscription:
    """`wanted`: somebody may command at all; else nothing is ever asked for."""

    def __init__(self, *, wanted: bool) -> None:
        self.trouble = ""
        """What is wrong with it, for people; empty: nothing."""
        self._wanted = wanted
        self._granted = False
        self._asked_at: float | None = None
        self._not_before = float("-inf")
        self._ends = 0
        """Connections in a row that ended at it."""

    @property
    def settled(self) -> bool:
        """There is nothing to wait for before the gateway is said to be online."""
        return not self._wanted or self._granted or (self._asked_at is None and self._not_before > float("-inf"))

    @property
    def asked(self) -> bool:
        """The broker has not answered yet."""
        return self._asked_at is not None

    def connected(self, now: float) -> None:
        """A new connection."""
        self._granted, self._asked_at = False, None
        if not self._ends:
            self._not_before = float("-inf")
        elif self._ends < _SUSPICIONS:
            self._not_before = now + _CALM_S

    def due(self, now: float) -> bool:
        """It is to be asked for now."""
        return self._wanted and not self._granted and self._asked_at is None and now >= self._not_before

    def ask(self, now: float) -> None:
        """It was asked for."""
        self._asked_at = now

    def answered(self, code: int, now: float) -> None:
        """The broker's SUBACK."""
        self._asked_at = None
        self._ends = 0
        self._granted = code < FAILURE
        self.trouble = "" if self._granted else f"the broker refuses the subscription to commands: {reason(code)}"
        if not self._granted:
            self._not_before = now + _RETRY_S

    def ended(self, now: float, *, hung_up: bool) -> None:
        """The connection is over; `hung_up`: not by us."""
        if self._asked_at is not None and hung_up:
            self._suspect(now, "the broker ends the connection at the subscription to commands")
        self._asked_at = None
        self._granted = False

    def look(self, now: float) -> None:
        """To be called about once a second: a broker that does not answer at all is not waited for."""
        if self._asked_at is not None and now - self._asked_at >= _ANSWER_S:
            self._ends = _SUSPICIONS
            self._suspect(now, "the broker does not answer the subscription to commands")
            self._asked_at = None

    def _suspect(self, now: float, text: str) -> None:
        self._ends = min(self._ends + 1, _SUSPICIONS)
        if self._ends >= _SUSPICIONS:
            self.trouble = text
            self._not_before = now + _RETRY_S
