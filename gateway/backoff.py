"""Waits between attempts: doubling and partly random, so that many clients do not reconnect at once. Pure."""

from typing import Protocol


class Draw(Protocol):
    """Such as `random.Random`."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


def doubled(first_s: float, times: int, last_s: float) -> float:
    """The wait `first_s`, doubled `times` times; `last_s` at most."""
    return min(first_s * 2.0 ** min(times, 64), last_s)


class BackOff:
    """Waits in seconds below a ceiling that doubles from `first_s` to `last_s`.

    Without `chance` each wait is as long as its ceiling. Otherwise no wait is shorter than `least_s`, or than the share
    `sure` of the ceiling.
    """

    def __init__(
        self,
        first_s: float,
        last_s: float,
        chance: Draw | None = None,
        *,
        least_s: float = 0.0,
        sure: float = 0.0,
    ) -> None:
        self.first_s = first_s
        self._last_s = last_s
        self._chance = chance
        self._least_s = least_s
        self._sure = sure
        self._ceiling_s = first_s

    def next(self, last_s: float | None = None) -> float:
        """The next wait; `last_s`: a lower ceiling for this one."""
        ceiling = min(self.step(), self._last_s if last_s is None else last_s)
        if self._chance is None:
            return ceiling
        least = max(min(self._least_s, ceiling), self._sure * ceiling)
        return least + self._chance.random() * (ceiling - least)

    def step(self) -> float:
        """The ceiling of the next wait; the one after has twice as much."""
        ceiling = self._ceiling_s
        self._ceiling_s = min(2 * ceiling, self._last_s)
        return ceiling

    def reset(self) -> None:
        """Begin again with `first_s`, after a success."""
        self._ceiling_s = self.first_s
