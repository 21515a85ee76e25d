"""Reports gaps in a stream as `stream.shed`: the first one at once, later ones together and less and less often."""

from collections.abc import Sequence

from gateway.cloud.journal.batch import Shed
from gateway.cloud.journal.numbering import Draft
from gateway.log import logger
from gateway.model import Instant, Json, Stream

_log = logger(__name__)

_EVERY_S = (10.0, 600.0)
"""While gaps continue, they are reported together after the first time, then after doubled times, up to the second."""


class Gaps:
    """Gaps that are not reported yet."""

    def __init__(self) -> None:
        self._untold: dict[tuple[Stream, str], Shed] = {}
        self._pause = _EVERY_S[0]

    def note(self, sheds: Sequence[Shed]) -> None:
        """Keep these until they are reported, together with others of the same stream and reason."""
        for shed in sheds:
            key = shed.stream, shed.reason
            before = self._untold.get(key)
            self._untold[key] = before.and_(shed) if before else shed

    def due(self) -> tuple[list[Shed], float]:
        """What to report now, and the seconds until the next report; if there is nothing, the next may come at once."""
        if not self._untold:
            self._pause = _EVERY_S[0]
            return [], 0.0
        sheds, self._untold = list(self._untold.values()), {}
        pause, self._pause = self._pause, min(2 * self._pause, _EVERY_S[1])
        return sheds, pause


def shed_event(shed: Shed, id_: str, now: Instant) -> Draft:
    """The event that reports a gap, which is also logged."""
    stream = shed.stream.value
    _log.warning("events were shed", stream=stream, count=shed.count, reason=shed.reason)
    data: dict[str, Json] = {
        "stream": stream,
        "first": shed.first,
        "last": shed.last,
        "count": shed.count,
        "reason": shed.reason,
    }
    return Draft(Stream.AUDIT, "stream.shed", stream, data, id_, now)
