"""What goes next, without any broker."""

import pytest

from gateway.cloud.mqtt.retained import Slot
from gateway.cloud.mqtt.send_order import REPLIES, Message, Sending
from gateway.cloud.mqtt.types import Limits, Unobserved
from gateway.model import Stream
from tests.chance import Drawn
from tests.cloud.memory_outbox import MemoryOutbox


class World:
    """A sending whose messages are numbered as they leave."""

    def __init__(self, window: int = 8, receive_maximum: int = 65535, limit: int | None = None) -> None:
        self.outbox = MemoryOutbox()
        self.slots = (Slot("active", "active"), Slot("status", "status"), Slot("health", "health"))
        self.now = 0.0
        self.mid = 0
        self.sending = Sending(
            self.outbox,
            "t",
            self.slots,
            limits=Limits(window=window, answer=10.0),
            overhead=20,
            chance=Drawn(0.5),
            observer=Unobserved(),
        )
        self.receive_maximum, self.limit = receive_maximum, limit

    def connect(self) -> None:
        self.sending.connected(self.receive_maximum, self.limit)

    def send(self) -> list[str]:
        """Send all that may go; the topics."""
        topics = []
        while message := self.sending.take(self.now):
            self.mid += 1
            self.sending.sent(self.mid, message, self.now)
            topics.append(message.topic)
        return topics

    def add(self, *streams: Stream, size: int = 0) -> None:
        for stream in streams:
            self.outbox.add(stream, size=size)
        self.sending.woken()


def test_nothing_goes_before_the_connection() -> None:
    world = World()
    world.add(Stream.ALARM)
    assert world.send() == []
    world.connect()
    assert world.send() == ["t/alarm"]


def test_the_order() -> None:
    world = World(window=64)
    world.add(*reversed(Stream), *reversed(Stream))
    world.slots[2].put(lambda _: b"h")
    world.slots[0].put(lambda _: b"a")
    world.sending.reply("t/reply", b"r")
    world.connect()
    first = world.send()
    alarms, others = ["t/alarm"] * 2, [f"t/{s}" for s in Stream for _ in range(2) if s is not Stream.PICTURE][2:]
    assert first == ["active", "t/reply", *alarms, *others], "the health waits for the alarms"
    for mid in range(1, world.mid + 1):
        world.sending.answered(mid, 0, 0.0)
    assert world.send() == ["health", "t/picture"]
    assert world.send() == []
    world.sending.answered(world.mid, 0, 0.0)
    assert world.send() == ["t/picture"]


def test_the_window_is_the_lesser_and_a_part_is_kept_for_alarms() -> None:
    world = World(window=8, receive_maximum=100)
    world.connect()
    world.add(*[Stream.TELEMETRY] * 20)
    assert len(world.send()) == 6
    world.add(*[Stream.ALARM] * 20)
    assert world.send() == ["t/alarm"] * 2
    world = World(window=8, receive_maximum=1)
    world.connect()
    world.add(*[Stream.TELEMETRY] * 3)
    assert len(world.send()) == 1


def test_the_bytes_in_flight_grow_with_quick_answers_and_shrink_with_slow_ones() -> None:
    def in_flight(latency: float) -> int:
        world = World(window=1000)
        world.connect()
        world.add(*[Stream.TELEMETRY] * 2000, size=1024)
        for _ in range(200):
            world.send()
            world.now += latency
            world.sending.answered(world.mid - world.sending.in_flight + 1, 0, world.now)
        world.send()
        return world.sending.in_flight

    assert in_flight(0.0) > 150
    assert in_flight(20.0) <= 9


def test_an_alarm_does_not_wait_for_room() -> None:
    world = World(window=64)
    world.connect()
    world.add(Stream.TELEMETRY, Stream.TELEMETRY, size=100_000)
    assert world.send() == ["t/telemetry"]
    world.add(Stream.ALARM)
    assert world.send() == ["t/alarm"]


def test_when_the_link_is_dead() -> None:
    world = World()
    world.connect()
    assert world.sending.dead_at() is None
    world.add(Stream.ALARM, size=8192)
    world.now = 5.0
    world.send()
    assert world.sending.dead_at() == 5.0 + 10.0 + 1.5, "8 KiB/s are assumed of a link that is not known"
    assert world.sending.due(5.0) == 16.5
    world.now = 7.0
    world.add(Stream.ALARM, Stream.ALARM, size=8192)
    world.send()
    assert world.sending.dead_at() == 16.5
    world.sending.answered(1, 0, 13.0)
    speed = world.sending.pace.speed or 0.0
    assert 1000 < speed < 1100, "8 KiB in 8 s"
    assert world.sending.dead_at() == pytest.approx(13.0 + 10.0 + 1.5 * 8192 / speed), "each has its own time"
    world.sending.answered(3, 0, 14.0)
    assert world.sending.dead_at() == pytest.approx(7.0 + 10.0 + 1.5 * 8192 / (world.sending.pace.speed or 0.0)), (
        "one that was passed over has had its turn"
    )


def test_a_lost_connection_sends_rows_and_replies_again_in_order() -> None:
    world = World()
    world.connect()
    world.add(Stream.ALARM, Stream.ALARM)
    for text in (b"1", b"2"):
        world.sending.reply("t/reply", text)
    world.send()
    world.sending.reply("t/reply", b"3")
    world.sending.disconnected()
    world.sending.answered(1, 0, 0.0)  # too late: of the connection before
    assert world.sending.in_flight == 0
    world.connect()
    again = []
    while message := world.sending.take(0.0):
        world.mid += 1
        world.sending.sent(world.mid, message, 0.0)
        again.append(message.payload if message.row is None else message.row.sequence)
    assert again == [b"1", b"2", b"3", 1, 2]


def test_replies_are_bounded_and_what_is_lost_is_counted() -> None:
    world = World(window=1000, limit=100)
    for n in range(REPLIES + 5):
        world.sending.reply("t/reply", str(n).encode())
    world.sending.reply("t/reply", bytes(200))
    world.connect()
    assert len(world.send()) == REPLIES - 1
    assert world.sending.counts.replies_lost == 7
    world.sending.answered(1, 0x87, 0.0)
    assert world.sending.counts.replies_lost == 8


def test_a_refused_retained_message_goes_again_after_a_wait() -> None:
    world = World()
    world.slots[0].put(lambda _: b"a")
    world.connect()
    assert world.send() == ["active"]
    world.sending.answered(1, 0x97, 0.0)
    assert world.send() == []
    due = world.sending.due(0.0)
    assert due is not None
    world.now = due
    assert world.send() == ["active"]


def test_drained_means_nothing_new() -> None:
    world = World()
    world.connect()
    world.add(Stream.ALARM)
    world.sending.drain()
    assert world.send() == []


def test_what_could_not_leave_is_not_lost() -> None:
    world = World()
    world.connect()
    world.sending.reply("t/reply", b"r")
    message = world.sending.take(0.0)
    assert message == Message("t/reply", b"r")
    world.sending.unsent(message)
    world.sending.disconnected()
    world.connect()
    assert world.send() == ["t/reply"]
