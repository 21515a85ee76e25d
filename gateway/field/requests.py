"""What is asked of a line once: writes, reads for somebody who waits, confirm reads."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.driver import Block
from gateway.errors import LineDown
from gateway.model import Reading, Value

Waiting = asyncio.Future[float] | asyncio.Future[Mapping[str, Reading]]


@dataclass(slots=True, eq=False)
class Order:
    """A write. Tried again while the device is silent, until it expires."""

    device: str
    point: str
    value: Value
    expires: float | None
    done: asyncio.Future[float]
    """When the write that did it went out (monotonic seconds)."""
    tries: int = 0


@dataclass(slots=True, eq=False)
class Fetch:
    """A read for somebody who waits for it."""

    block: Block
    done: asyncio.Future[Mapping[str, Reading]]


@dataclass(slots=True, eq=False)
class Confirm:
    """A read whose answer goes to the site even if unchanged."""

    block: Block
    asked: float
    """When, in monotonic seconds."""


def fail(future: Waiting, error: Exception) -> None:
    """Whoever waits gets this error, unless nobody waits any more."""
    if not future.done():
        future.set_exception(error)


def drop(future: Waiting) -> None:
    """Nobody waits any more: what has not begun does not begin, an error that came already is seen."""
    if not future.cancel() and not future.cancelled():
        future.exception()


@contextmanager
def answerable(future: Waiting) -> Iterator[None]:
    """Whoever waits is told when the line is lost, or closed, under the request."""
    try:
        yield
    except LineDown as error:
        fail(future, error)
        raise
    except asyncio.CancelledError:
        fail(future, LineDown("the line was closed"))
        raise
