"""What the uplink needs of the journal: rows in order, and what became of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.cloud.events import with_picture
from gateway.model import Stream

if TYPE_CHECKING:
    from gateway.cloud.mqtt.recall import Numbers


class Row(NamedTuple):
    """One event on its way to the broker; `payload` is frozen: every sending has the same bytes."""

    n: int
    """The row's number in the journal; unique, grows in order of arrival over all streams."""
    stream: Stream
    sequence: int
    payload: bytes
    """A CloudEvent in structured JSON mode; of a picture without its `data_base64`."""
    jpeg: bytes | None = None
    """The bytes of a picture."""

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self.payload) if self.jpeg is None else len(self.payload) + len(self.jpeg)

    def message(self) -> bytes:
        """What is sent: base64 exists only here and on the wire."""
        return self.payload if self.jpeg is None else with_picture(self.payload, self.jpeg)


class Outbox(Protocol):
    """The journal as the uplink sees it. All calls on the event loop's thread; none blocks.

    Rows of telemetry may be given out before their commit, all others only once accepted.
    """

    def take(self, stream: Stream) -> Row | None:
        """The next row of the stream that was not taken since `rewind`, in sequence order.

        None: nothing is at hand now. If rows wait on disk they are fetched meanwhile and `notify` tells.
        """
        ...

    def rewind(self, stream: Stream | None = None) -> None:
        """Begin again at the oldest row that was not acknowledged (a new connection, a refused topic)."""
        ...

    def acknowledge(self, row: Row) -> None:
        """The broker has it: the row leaves the outbox (deleted in batches)."""
        ...

    def quarantine(self, row: Row, reason: str) -> None:
        """Set the row aside: kept, shown, offered again at each connection, never in the way of others."""
        ...

    def waiting(self, stream: Stream) -> int:
        """How many rows of the stream are not acknowledged yet (quarantined ones not counted)."""
        ...

    @property
    def numbers(self) -> "Numbers | None":
        """How far it has come, to be told with `alarm/active`; None: it does not count."""
        ...

    def notify(self, ready: Callable[[], None]) -> None:
        """Call `ready` on the loop whenever `take` may give something that it did not give before."""
        ...
