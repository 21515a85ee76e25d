"""Ids of events that are made outside the site. The site's own ids follow from its inputs."""

import os

from gateway.model import Instant, uuid7


def new_id(at: Instant) -> str:
    """A new UUIDv7."""
    return uuid7(at.wall, int.from_bytes(os.urandom(10), "big"))
