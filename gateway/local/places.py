"""Who may hold a connection to the page, and how much a caller may ask for. Pure; times in monotonic seconds.

Strangers never keep out who is known: where all places are taken, one of an address from which nobody is logged in
goes, of the address that holds most, first who has not sent a whole request, then who has waited longest.
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
    """Since when its next request is waited for."""
    has_asked: bool = False
    """A whole request has come over it."""
    is_served: bool = False
    """A whole request of it is being answered: it goes for nobody."""
    streams: bool = False
    """It is a stream: these are counted elsewhere."""

    @abstractmethod
    def close(self) -> None:
        """Its place is another one's now."""


class KnownAddresses(Protocol):
    """From where people are logged in."""

    def is_known(self, address: str) -> bool:
        """Somebody is logged in from there."""
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
        """A place for it: who has to go for that is closed. False: there is none."""
        all_of_them = [one for one in self._taken if not one.streams]
        own = [one for one in all_of_them if one.address == place.address]
        full = own if len(own) >= OF_ONE else all_of_them if len(all_of_them) >= PLACES else ()
        if full:
            goes = self._first_to_go(full)
            if goes is None:
                return False
            self.leave(goes)  # now: more may come before it is closed
            goes.close()
        self._taken.append(place)
        return True

    def leave(self, place: ConnectionPlace) -> None:
        """It is free."""
        if place in self._taken:
            self._taken.remove(place)

    def close(self) -> None:
        """All of them."""
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
    """So much at once, and then so much a second, for each key. Of too many keys the oldest is new again."""

    def __init__(self, at_once: float, a_second: float) -> None:
        self._most = at_once
        self._rate = a_second
        self._left: dict[str, tuple[float, float]] = {}
        """What was left, and when; who asked last stands last."""

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """0.0: it is taken. Else in how many seconds there is enough; then nothing is taken."""
        left, at = self._left.pop(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        enough = left >= cost
        self._left[key] = (left - cost if enough else left, now)
        if len(self._left) > _KEYS:
            del self._left[next(iter(self._left))]
        return 0.0 if enough else (cost - left) / self._rate


def caller(address: str) -> str:
    """Whom an address stands for: of a public IPv6 one the network of 64 bits, which one machine can use whole."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.is_link_local or found.is_loopback:
        return str(found)
    return str(ipaddress.ip_network((found, _PREFIX), strict=False))
