"""Ids that are the same when the same inputs are replayed: UUIDv7 in form, without a random source."""

import hashlib

from gateway.model import Instant, uuid7


class Ids:
    """Makes UUIDv7-shaped ids (RFC 9562, 5.7) from the time, a counter and the process's recorded seed."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0
        self._orders = 0

    def order(self) -> str:
        """A name for an order or a request; unique in this process and, through the seed, across processes."""
        self._orders += 1
        return f"{self._seed[:4].hex()}-{self._orders}"

    def new(self, now: Instant) -> str:
        """The next id. Ids of the same millisecond sort in order of creation."""
        self._counter += 1
        digest = hashlib.blake2b(self._counter.to_bytes(8, "big"), key=self._seed, digest_size=8).digest()
        noise = int.from_bytes(digest, "big") >> 2
        return uuid7(now.wall, (self._counter & 0xFFF) << 62 | noise)
