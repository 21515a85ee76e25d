"""Whether another client uses our client id, where the broker does not say so (MQTT 3.1.1, mosquitto 2.0.11). Pure.

The broker ends the older of two connections with one client id. Two clients that both come back at once then chase each
other every second. Three connections in a row that were accepted and soon ended without a reason and without anything
unanswered are taken for that.
"""

from collections import deque

_WITHIN_S = 20.0
_SOON_S = 10.0
_SHORT_CONNECTIONS = 3


class Rivalry:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=_SHORT_CONNECTIONS)

    def ended(self, now: float, lived: float, *, without_reason: bool) -> bool:
        """A connection that was accepted is over after `lived` seconds; True: another client took it over."""
        if not without_reason or lived >= _SOON_S:
            self._ends.clear()
            return False
        self._ends.append(now)
        return len(self._ends) == _SHORT_CONNECTIONS and now - self._ends[0] <= _WITHIN_S
