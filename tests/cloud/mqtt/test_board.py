"""What the retained messages say when: by the numbers in `alarm/active` a store that is put back is found out."""

from typing import Any

import orjson
import pytest

from gateway.clock import Clock
from gateway.cloud.mqtt.board import Board, Nonces
from gateway.cloud.mqtt.recall import RecalledNumbers
from gateway.model import Stream
from tests.cloud.running import settings


class At:
    """A board at a time of its own, over a journal that counts."""

    def __init__(self, alarms: int) -> None:
        self.now = 1000.0
        self.numbers = RecalledNumbers("j", dict.fromkeys(Stream, 0), stored=True)
        clock = Clock(mono=lambda: self.now, wall=lambda: 1.8e9 + self.now, synced=lambda: True)
        self.board = Board(settings(1), clock, self, Nonces())
        self.board.set_standing(
            {f"alarm/d{n}/p/low": {"severity": "low", "place": "x" * 600} for n in range(alarms)}, 0
        )

    def gives(self, stream: Stream) -> None:
        """One event more."""
        self.numbers = self.numbers._replace(given={**self.numbers.given, stream: self.numbers.given[stream] + 1})
        self.board.numbers_changed()

    def sent(self) -> dict[str, Any] | None:
        """The data of what is to be sent now."""
        message = self.board.active.take(self.now, 1 << 20)
        return None if message is None else orjson.loads(message)["data"]


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize(("alarms", "within"), [(0, 60.0), (140, 800.0)])
def test_newer_numbers_are_told_within_a_minute_though_no_alarm_changes(
    stream: Stream, alarms: int, within: float
) -> None:
    at = At(alarms)
    assert at.sent() is not None
    at.gives(stream)
    assert at.sent() is None, "not each event is worth a message"
    at.now += within
    at.board.set_health({})  # which comes each minute, though nothing happens any more
    told = at.sent()
    assert told is not None
    assert told["given"][stream.value] == 1
    at.now += within
    at.board.set_health({})
    assert at.sent() is None, "nothing is newer"


def test_a_long_list_is_sent_more_rarely() -> None:
    at = At(140)
    at.sent()
    size = 0
    for _ in range(3600):
        at.now += 1.0
        at.gives(Stream.ACCESS)
        size += len(orjson.dumps(at.sent() or ""))
    assert 0 < size < 3600 * 150
