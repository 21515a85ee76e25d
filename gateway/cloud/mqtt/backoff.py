"""When to try the broker again. Pure.

Full jitter: each wait is random below a ceiling, so that a compound's gateways do not all connect at once. The ceiling
stays low for the first minutes of an outage (a restarted broker is found within a second) and then doubles. It is reset
only after the link has been up for a while.
"""

from gateway.backoff import Draw

LONGEST_S = 60.0
_FIRST_S = 0.5
_QUICK_S = 0.8
"""Ceiling while an alarm, access or audit row waits, and early in an outage: under 1 s including the dialling."""
_QUICK_FOR_S = 300.0
_REFUSED_S = 5.0
_STEADY_S = 30.0


class Reconnection:
    """Waits between attempts. Times are monotonic seconds."""

    def __init__(self, chance: Draw) -> None:
        self._chance = chance
        self._since: float | None = None
        self._up_at: float | None = None
        self._ceiling = _FIRST_S
        self._refused = False
        self._draw = 0.0

    def connected(self, now: float) -> None:
        """The broker has accepted us."""
        self._up_at = now

    def failed(self, now: float, *, refused: bool) -> None:
        """An attempt failed or the link was lost; `refused`: the broker refused us."""
        if self._since is None or (self._up_at is not None and now - self._up_at >= _STEADY_S):
            self._since = now
            self._ceiling = _FIRST_S
            self._refused = False
        elif not refused and now - self._since < _QUICK_FOR_S:
            self._ceiling = _QUICK_S
        else:
            self._ceiling = min(self._ceiling * 2, LONGEST_S)
        if refused:
            self._ceiling = max(self._ceiling, _REFUSED_S)
        self._up_at = None
        self._refused = refused
        self._draw = self._chance.random()

    def wait(self, *, urgent: bool) -> float:
        """Seconds from the failure to the next attempt; `urgent`: an alarm, access or audit row waits."""
        if self._refused:  # never at once: two gateways with one client id would keep replacing each other
            ceiling = _REFUSED_S if urgent else self._ceiling
            return ceiling * (0.5 + 0.5 * self._draw)
        return self._draw * (min(self._ceiling, _QUICK_S) if urgent else self._ceiling)
