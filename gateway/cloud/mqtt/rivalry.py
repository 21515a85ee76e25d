"""Detects another client with our client id if the broker does not say so (MQTT 3.1.1, mosquitto 2.0.11). Pure.

The broker ends the older of two connections with the same client id. Two clients that both reconnect at once then
replace each other every second. This is assumed after three consecutive connections that were accepted and soon ended
without a reason and without anything unanswered.
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
        """An accepted connection has ended after `lived` seconds. True: another client took over."""
        if not without_reason or lived >= _SOON_S:
            self._ends.clear()
            return False
        self._ends.append(now)
        return len(self._ends) == _SHORT_CONNECTIONS and now - self._ends[0] <= _WITHIN_S
