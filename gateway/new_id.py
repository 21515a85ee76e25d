"""Ids of events that are made outside of the site. The site makes its own, which follow from its inputs."""

import os

from gateway.model import Instant, uuid7


def new_id(at: Instant) -> str:
    """A UUIDv7 that nobody else has."""
    return uuid7(at.wall, int.from_bytes(os.urandom(10), "big"))
