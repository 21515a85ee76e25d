"""Limits of connections to the page, and budgets of callers. Pure; times in monotonic seconds.

Strangers never block known callers. If all places are taken, a connection is closed: first from addresses where nobody
is logged in, then from the address with the most connections, then one without a complete request, then the one that
has waited longest.
"""

import ipaddress
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

PLACES = 48
OF_ONE = 16
_KEYS = 1024
_PREFIX = 64


@dataclass(eq=False, slots=True)
class ConnectionPlace(ABC):
    """A connection that takes a place."""

    address: str
    since: float
    """Since when it waits for its next request."""
    has_asked: bool = False
    """It has sent a complete request."""
    is_served: bool = False
    """Its request is being answered: it is never closed to make room."""
    streams: bool = False
    """It is a stream, which is counted elsewhere."""

    @abstractmethod
    def close(self) -> None:
        """Close it, because another connection takes its place."""


class KnownAddresses(Protocol):
    """The addresses from which people are logged in."""

    def is_known(self, address: str) -> bool:
        """True if somebody is logged in from there."""
        ...


class Places:
    """The places that are taken."""

    def __init__(self, known: KnownAddresses) -> None:
        self._known = known
        self._taken: list[ConnectionPlace] = []

    def __contains__(self, place: ConnectionPlace) -> bool:
        return place in self._taken

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, place: ConnectionPlace) -> bool:
        """Take a place, closing another connection if needed. False: there is none."""
        all_of_them = [one for one in self._taken if not one.streams]
        own = [one for one in all_of_them if one.address == place.address]
        full = own if len(own) >= OF_ONE else all_of_them if len(all_of_them) >= PLACES else ()
        if full:
            goes = self._first_to_go(full)
            if goes is None:
                return False
            self.leave(goes)  # at once, because others may come before it is closed
            goes.close()
        self._taken.append(place)
        return True

    def leave(self, place: ConnectionPlace) -> None:
        """Free a place."""
        if place in self._taken:
            self._taken.remove(place)

    def close(self) -> None:
        """Close all."""
        for place in [*self._taken]:
            self.leave(place)
            place.close()

    def _first_to_go(self, full: list[ConnectionPlace] | tuple[ConnectionPlace, ...]) -> ConnectionPlace | None:
        counts = Counter(one.address for one in full)
        waiting = [one for one in full if not one.is_served]
        return max(
            waiting,
            key=lambda one: (not self._known.is_known(one.address), counts[one.address], not one.has_asked, -one.since),
            default=None,
        )


class Budget:
    """A budget per key: an amount at once, then an amount a second. Of too many keys the oldest is forgotten."""

    def __init__(self, at_once: float, a_second: float) -> None:
        self._most = at_once
        self._rate = a_second
        self._left: dict[str, tuple[float, float]] = {}
        """Key -> what was left, and when; ordered by last use."""

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """Take `cost`; returns 0.0, or the seconds until there is enough, and then takes nothing."""
        left, at = self._left.pop(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        enough = left >= cost
        self._left[key] = (left - cost if enough else left, now)
        if len(self._left) > _KEYS:
            del self._left[next(iter(self._left))]
        return 0.0 if enough else (cost - left) / self._rate


def caller(address: str) -> str:
    """The caller behind an address: for public IPv6 the /64 network, all of which one machine can use."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.is_link_local or found.is_loopback:
        return str(found)
    return str(ipaddress.ip_network((found, _PREFIX), strict=False))
