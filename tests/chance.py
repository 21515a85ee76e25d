"""Chance that is none: the numbers that a test wants."""

from collections.abc import Iterable, Iterator


class Drawn:
    """Gives these numbers, one after the other; a number alone is given again and again."""

    def __init__(self, numbers: Iterable[float] | float) -> None:
        self.always = numbers if isinstance(numbers, float) else None
        self._numbers: Iterator[float] = iter(()) if isinstance(numbers, float) else iter(numbers)

    def random(self) -> float:
        return next(self._numbers) if self.always is None else self.always
