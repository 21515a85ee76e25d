"""What a line remembers of its bytes, for people who look for a fault, and what was odd about them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.modbus.mbap import EXACT, Style

Piece = tuple[str, float, bytes]
"""`>` sent (`?`: only to prove whose answers come) or `<` received, monotonic seconds, bytes."""

MOST_BYTES = 2 << 20
"""Memory that a line remembers at most."""
_PIECE_BYTES = 200
"""What a piece takes besides its bytes."""
_LONGEST_PIECE = 8 << 10
"""Of a longer piece the beginning is kept: a whole window of answers is shorter."""


class Trace(deque[Piece]):
    """The last pieces that went over a line: at most `maxlen`, and 2 MiB in all whatever their sizes."""

    def __init__(self, maxlen: int) -> None:
        super().__init__(maxlen=maxlen)
        self._bytes = 0

    def append(self, piece: Piece) -> None:
        """The next piece; the oldest ones go."""
        size = len(piece[2])
        if size > _LONGEST_PIECE:
            piece, size = (piece[0], piece[1], piece[2][:_LONGEST_PIECE]), _LONGEST_PIECE
        self._bytes += size + _PIECE_BYTES
        while self and (len(self) == self.maxlen or self._bytes > MOST_BYTES):
            self._bytes -= len(self.popleft()[2]) + _PIECE_BYTES
        super().append(piece)


@dataclass(slots=True)
class Oddities:
    """What a line put up with since the start. `strange`: bytes that fit nothing; `unasked`: sound frames besides."""

    strange: int = 0
    unasked: int = 0
    floods: int = 0
    """Connections given up because of too much of either."""
    reopened: int = 0
    """Connections that the other side closed, and that were opened again at once."""
    refused: int = 0
    """Of a line whose device dials in: connections to its port that were turned away."""
    replaced: int = 0
    """… and that a newer one took the place of."""
    style: Style = field(default=EXACT)

    def told(self) -> Mapping[str, int | str | None]:
        """For health; `identity`: how its devices name what they answer, where that is not as the standard has it."""
        number, unit = self.style
        words = [
            *(() if number == 0 else ("transaction id always 0" if number is None else "transaction id one too high",)),
            *(() if unit is None else (f"unit always {unit}",)),
        ]
        return {
            "strange_bytes": self.strange,
            "unasked_frames": self.unasked,
            "floods": self.floods,
            "reopened": self.reopened,
            "refused_callers": self.refused,
            "replaced_callers": self.replaced,
            "identity": ", ".join(words) or None,
        }
