"""Reports gaps in a stream as `stream.shed`: the first one at once, later ones together and less and less often."""

import asyncio
from collections.abc import Callable, Sequence

from gateway.cloud.journal.batch import Shed
from gateway.log import logger
from gateway.model import Emit, Instant, Json, Stream

_log = logger(__name__)

_EVERY_S = (10.0, 600.0)
"""While gaps continue, they are reported together after the first time, then after doubled times, up to the second."""


class Gaps:
    """Gaps that are not reported yet. `tell` takes the events and the gaps that they name. Loop thread only."""

    def __init__(
        self,
        now: Callable[[], Instant],
        new_id: Callable[[float], str],
        tell: Callable[[Sequence[Emit], Sequence[Shed]], None],
    ) -> None:
        self._now = now
        self._new_id = new_id
        self._tell = tell
        self._unnamed: dict[tuple[Stream, str], Shed] = {}
        self._every = _EVERY_S[0]
        self._timer: asyncio.TimerHandle | None = None

    def name(self, sheds: Sequence[Shed]) -> None:
        """Report these, now or soon."""
        for shed in sheds:
            key = shed.stream, shed.reason
            before = self._unnamed.get(key)
            self._unnamed[key] = before.and_(shed) if before else shed
        if self._timer is None:
            self._name_now()

    def close(self) -> None:
        """Report what is left, and nothing afterwards."""
        if self._timer is not None:
            self._timer.cancel()
            self._name_now()
        if self._timer is not None:
            self._timer.cancel()

    def _name_now(self) -> None:
        self._timer = None
        if not self._unnamed:
            self._every = _EVERY_S[0]
            return
        now = self._now()
        sheds, self._unnamed = list(self._unnamed.values()), {}
        for shed in sheds:
            _log.warning("events were shed", stream=shed.stream.value, count=shed.count, reason=shed.reason)
        self._tell([self._event(shed, now) for shed in sheds], sheds)
        self._timer = asyncio.get_running_loop().call_later(self._every, self._name_now)
        self._every = min(2 * self._every, _EVERY_S[1])

    def _event(self, shed: Shed, now: Instant) -> Emit:
        stream = shed.stream.value
        data: dict[str, Json] = {
            "stream": stream,
            "first": shed.first,
            "last": shed.last,
            "count": shed.count,
            "reason": shed.reason,
        }
        return Emit(Stream.AUDIT, "stream.shed", stream, data, self._new_id(now.wall), now)
