"""What the uplink needs of the journal: rows in order, and methods to report their outcome."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.cloud.events import with_picture
from gateway.model import Stream

if TYPE_CHECKING:
    from gateway.cloud.mqtt.recall import RecalledNumbers


class Row(NamedTuple):
    """One event for the broker. `payload` is fixed: it is sent with the same bytes each time."""

    n: int
    """The row's number in the journal; unique, increasing in order of arrival over all streams."""
    stream: Stream
    sequence: int
    payload: bytes
    """A CloudEvent in structured JSON mode; for a picture without its `data_base64`."""
    jpeg: bytes | None = None
    """The bytes of a picture."""

    @property
    def size(self) -> int:
        """Its bytes in memory."""
        return len(self.payload) if self.jpeg is None else len(self.payload) + len(self.jpeg)

    def message(self) -> bytes:
        """The bytes to send; base64 exists only here and on the wire."""
        return self.payload if self.jpeg is None else with_picture(self.payload, self.jpeg)


class Outbox(Protocol):
    """The journal for the uplink. All calls are on the event loop's thread; none blocks.

    Telemetry rows may be given out before their commit, all others only once accepted.
    """

    def take(self, stream: Stream) -> Row | None:
        """The next row of the stream since `rewind`, in sequence order.

        None: nothing is in memory now. Rows on disk are then fetched, and `ready` is set.
        """
        ...

    def rewind(self, stream: Stream | None = None) -> None:
        """Begin again at the oldest row that was not acknowledged (a new connection, a refused topic)."""
        ...

    def acknowledge(self, row: Row) -> None:
        """The broker has the row: remove it from the outbox (deleted in batches)."""
        ...

    def quarantine(self, row: Row, reason: str) -> None:
        """Set the row aside: it is kept, shown, offered again at each connection, and never blocks others."""
        ...

    def waiting(self, stream: Stream) -> int:
        """How many rows of the stream are not acknowledged yet, without quarantined ones."""
        ...

    @property
    def numbers(self) -> "RecalledNumbers | None":
        """How far it has come, for `alarm/active`; None: it has no numbers."""
        ...

    @property
    def ready(self) -> asyncio.Event:
        """Set when `take` may have something new; the one who waits for it clears it."""
        ...
