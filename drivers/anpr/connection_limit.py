"""Limits connections: closes first one that never identified a camera, then the one that is idle longest."""

from drivers.anpr.http import PushConnection

CONNECTIONS = 256


class Crowd:
    """The open connections, by state."""

    def __init__(self) -> None:
        self._unknown: dict[PushConnection, None] = {}
        """Connected, without a request so far."""
        self._leaving: dict[PushConnection, None] = {}
        """Refused and about to close."""
        self._idle: dict[PushConnection, None] = {}
        """Cameras between two pushes, longest idle first."""
        self._busy: dict[PushConnection, None] = {}

    @property
    def count(self) -> int:
        """The number of open connections."""
        return len(self._unknown) + len(self._leaving) + len(self._idle) + len(self._busy)

    def enter(self, wire: PushConnection) -> bool:
        """Add a connection; False: all others are busy."""
        self._unknown[wire] = None
        if self.count <= CONNECTIONS:
            return True
        for group in (self._unknown, self._leaving, self._idle):
            victim = next((one for one in group if one is not wire), None)
            if victim is not None:
                del group[victim]
                victim.abort()
                return True
        del self._unknown[wire]
        return False

    def busy(self, wire: PushConnection) -> None:
        """Note that a request of it is under way."""
        self._put(wire, self._busy)

    def idle(self, wire: PushConnection) -> None:
        """Note that it was answered as a camera."""
        self._put(wire, self._idle)

    def leaving(self, wire: PushConnection) -> None:
        """Note that it is refused."""
        self._put(wire, self._leaving)

    def leave(self, wire: PushConnection) -> None:
        """Remove a closed connection."""
        for group in (self._unknown, self._leaving, self._idle, self._busy):
            group.pop(wire, None)

    def _put(self, wire: PushConnection, group: dict[PushConnection, None]) -> None:
        self.leave(wire)
        group[wire] = None
