"""Timers of the site: named times of the monotonic clock."""

from heapq import heapify, heappop, heappush

Key = tuple[str, str]
"""The part that waits, and the name of its timer."""


class Timers:
    """One time per key; setting it again replaces it. Due timers come in the order of their times."""

    def __init__(self) -> None:
        self._due: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0

    def set(self, key: Key, due: float) -> None:
        """Set a timer to `due` (monotonic seconds)."""
        self._count += 1
        self._due[key] = due, self._count
        heappush(self._heap, (due, self._count, key))
        if len(self._heap) > 64 + 4 * len(self._due):
            self._heap = [(due, count, key) for key, (due, count) in self._due.items()]
            heapify(self._heap)

    def drop(self, key: Key) -> None:
        """Remove a timer."""
        self._due.pop(key, None)

    def get(self, key: Key) -> float | None:
        """When it is due; None: it is not set."""
        waits = self._due.get(key)
        return None if waits is None else waits[0]

    def first(self) -> float | None:
        """The earliest time; None: no timer is set."""
        heap = self._heap
        while heap:
            due, count, key = heap[0]
            waits = self._due.get(key)
            if waits is not None and waits[1] == count:
                return due
            heappop(heap)
        return None

    def take(self, now: float) -> Key | None:
        """Remove and return a key that is due at `now`; None: there is none."""
        due = self.first()
        if due is None or due > now:
            return None
        key = heappop(self._heap)[2]
        del self._due[key]
        return key
