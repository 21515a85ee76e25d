"""One stream against a broker that takes and refuses as it likes."""

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backoff import BackOff
from gateway.cloud.mqtt.send_order import OutStream
from gateway.cloud.mqtt.types import Unobserved
from gateway.cloud.outbox import Row
from gateway.model import Stream
from tests.chance import Drawn
from tests.cloud.memory_outbox import MemoryOutbox

CODES = st.sampled_from([0, 0, 0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x97, 0x99])


class World(Unobserved):
    """A stream with a window of its own and a clock that only we move."""

    def __init__(self, rows: int, poison: frozenset[int] = frozenset()) -> None:
        self.outbox = MemoryOutbox()
        self.told: list[int | None] = []
        self.lane = OutStream(
            self.outbox,
            Stream.ALARM,
            "t",
            0,
            BackOff(0.5, 60.0, Drawn(0.5), sure=0.5),
            quick=10.0,
            observer=self,
        )
        self.poison = poison
        self.now = 0.0
        self.first_sent: list[int] = []
        self.refusals: dict[int, int] = {}
        self.accepted_after_three: set[int] = set()
        self.flight: list[Row] = []
        for _ in range(rows):
            self.outbox.add(Stream.ALARM)

    def refused(self, stream: str, code: int | None) -> None:
        del stream
        self.told.append(code)

    def send(self, window: int) -> None:
        while len(self.flight) < window:
            if self.lane.dry or (row := self.lane.take(self.now)) is None:
                return
            if row.sequence not in self.first_sent:
                self.first_sent.append(row.sequence)
            self.lane.sent()
            self.flight.append(row)

    def answer(self, at: int, code: int) -> None:
        row = self.flight.pop(at % len(self.flight))
        if row.sequence in self.poison:
            code = 0x99
        before = set(self.outbox.quarantined)
        if code >= 0x80:
            self.refusals[row.sequence] = self.refusals.get(row.sequence, 0) + 1
        else:
            self.accepted_after_three |= {
                sequence for sequence, times in self.refusals.items() if times >= 3 and sequence < row.sequence
            }
        self.lane.answered(row, code, self.now)
        for n in set(self.outbox.quarantined) - before:
            assert self.refusals[n] >= 3
            assert n in self.accepted_after_three

    def wait(self) -> None:
        due = self.lane.due()
        self.now = self.now + 0.1 if due is None else max(self.now, due)

    def reconnect(self) -> None:
        self.flight.clear()
        self.outbox.rewind()
        self.lane.connected()

    def settle(self) -> None:
        """From now on the broker takes everything but poison, which is known as such only by a later row."""
        waits = 0
        for turn in count():
            assert turn < 5000, "the stream stands still"
            self.send(16)
            if self.flight:
                self.answer(0, 0)
            elif not self.outbox.left:
                return
            else:
                self.wait()
                waits += 1
                if waits % 10 == 0:
                    self.outbox.add(Stream.ALARM)
                    self.lane.woken()

    def refuse(self, code: int) -> float:
        """Have the next row refused; how long it takes until the stream is tried again."""
        while not self.flight:
            self.wait()
            self.send(1)
        self.answer(0, code)
        begun = self.now
        while not self.flight:
            self.wait()
            self.send(1)
        return self.now - begun


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 30),
    st.frozensets(st.integers(1, 30), max_size=3),
    st.lists(st.tuples(st.integers(1, 16), st.integers(0, 15), CODES, st.booleans()), max_size=80),
)
def test_nothing_is_lost_and_nothing_good_is_set_aside(
    rows: int, poison: frozenset[int], steps: list[tuple[int, int, int, bool]]
) -> None:
    world = World(rows, poison)
    for window, at, code, reconnect in steps:
        world.send(window)
        if world.flight:
            world.answer(at, code)
        else:
            world.wait()
        if reconnect:
            world.reconnect()
    world.settle()
    world.reconnect()  # what was set aside is offered again
    world.settle()
    assert world.first_sent == list(range(1, len(world.first_sent) + 1))
    taken = {row.sequence for row in world.outbox.acknowledged}
    assert taken | world.poison >= set(range(1, rows + 1))
    assert not taken & poison
    if world.told:
        assert world.told[-1] is None


def test_the_wait_doubles_up_to_its_limits_and_begins_anew_after_a_success() -> None:
    for code, limit in ((0x97, 10.0), (0x87, 60.0)):
        world = World(1)
        waits = [world.refuse(code) for _ in range(12)]
        assert waits[-1] > waits[0]
        assert limit / 2 <= waits[-1] <= limit + 1.0
        world.settle()
        world.outbox.add(Stream.ALARM)
        world.lane.woken()
        assert world.refuse(code) < 1.0


def test_a_refused_stream_is_told_once_and_told_when_it_flows_again() -> None:
    world = World(5)
    for _ in range(4):
        world.send(16)
        while world.flight:
            world.answer(0, 0x87)
        world.wait()
    assert world.told == [0x87]
    assert world.lane.code == 0x87
    world.settle()
    assert world.told == [0x87, None]
    assert world.lane.code is None
