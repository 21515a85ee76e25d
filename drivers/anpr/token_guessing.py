"""Counts wrong tokens: after some, answers are delayed and an alarm is raised. Pure; the time is an argument."""

from collections import deque

from gateway.driver import PushTaker

ALARM = "camera-token"
MANY = 20
"""This many wrong tokens within `WITHIN_S` raise an alarm."""
WITHIN_S = 60.0
FREE = 10
"""This many wrong tokens are answered without delay."""
_STEP_S, _LONGEST_S = 0.1, 2.0
AT_ONCE = 4
"""The most delayed answers at once; further connections are closed."""


class Guesses:
    """The wrong tokens for one camera."""

    def __init__(self, camera: str, taker: PushTaker) -> None:
        self._name = f"{camera}/{ALARM}"
        self._taker = taker
        self._times: deque[float] = deque(maxlen=MANY)
        self._is_told = False
        self.waiting = 0

    def wrong(self, now: float) -> float:
        """Count one; returns the delay of its answer in seconds."""
        self.look(now)
        self._times.append(now)
        if len(self._times) == MANY and not self._is_told:
            self._is_told = True
            self._taker.alarm(self._name, False, f"{MANY} wrong tokens within {WITHIN_S:.0f} s")
        return min(_LONGEST_S, max(0, len(self._times) - FREE) * _STEP_S)

    def look(self, now: float) -> None:
        """Forget old ones."""
        while self._times and now - self._times[0] >= WITHIN_S:
            self._times.popleft()
        if self._is_told and not self._times:
            self._is_told = False
            self._taker.alarm(self._name, True, "")
