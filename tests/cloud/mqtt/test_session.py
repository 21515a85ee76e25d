"""One connection as a broker sees it: what is sent, under which message ids, and nothing after the goodbye."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.cloud.mqtt.session import Session
from gateway.cloud.mqtt.types import Broker, MessageEnvelope
from simulators import packets
from tests.cloud.raw_broker import Raw, answer, message, raw_broker
from tests.cloud.running import eventually
from tests.secret_texts import SecretText

MIDS = 65535


class Told:
    """What the session told."""

    def __init__(self) -> None:
        self.acks: set[int] = set()
        self.deliveries: list[MessageEnvelope] = []
        self.granted: list[tuple[str, int]] = []

    def acknowledged(self, acks: list[tuple[int, int]]) -> None:
        self.acks |= {mid for mid, _ in acks}

    def subscribed(self, topic: str, code: int) -> None:
        self.granted.append((topic, code))

    def arrived(self, _topic: str | None, _payload: bytes, envelope: MessageEnvelope) -> None:
        self.deliveries.append(envelope)


@asynccontextmanager
async def connected(broker: Broker) -> AsyncIterator[tuple[Session, Told]]:
    told = Told()
    session = Session(broker, None, told)
    try:
        await asyncio.wait_for(session.open(), 10.0)
        yield session, told
    finally:
        session.abort("end of the test")


def at(raw: Raw, protocol: int = 5, **options: object) -> Broker:
    return Broker("127.0.0.1", raw.port, "gw", protocol, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("protocol", "user", "seen"),
    [(5, None, ""), (5, "gw", "gw"), (4, "gw", "gw")],
)
async def test_a_password_is_sent_with_and_without_a_user(protocol: int, user: str | None, seen: str) -> None:
    async with raw_broker() as raw, connected(at(raw, protocol, username=user, password=SecretText("word"))):
        connect = raw.connects[0]
        assert (connect.username, connect.password) == (seen, b"word")


@pytest.mark.parametrize("protocol", [5, 4])
async def test_no_two_open_packets_have_one_id_however_many_are_sent(protocol: int) -> None:
    """The ids go round; one message and one SUBSCRIBE stay without an answer, and paho knows nothing of the second."""

    def slow(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        if kind == packets.PUBLISH:
            sent.append(packets.parse_publish(flags, body, raw.version).mid)
            if len(sent) > 1:
                raw.send(packets.puback(raw.version, sent[-1], 0))
        elif kind == packets.SUBSCRIBE:
            asked.append(int.from_bytes(body[:2], "big"))

    sent: list[int] = []
    asked: list[int] = []
    async with raw_broker() as raw:
        raw.on_packet = slow
        async with connected(at(raw, protocol)) as (session, told):
            first = session.publish("t/first", b"x")
            session.subscribe("t/command")
            await eventually(lambda: asked and sent)
            for _ in range(0, MIDS, 1000):
                told.acks.clear()
                mids = [session.publish("t/next", b"x") for _ in range(1000)]
                assert len({*mids, first, *asked}) == 1002
                await eventually(lambda: len(told.acks) == 1000, 20.0)
            assert len(sent) > MIDS
            raw.send(packets.puback(raw.version, sent[0], 0) + packets.suback(raw.version, asked[0], [1]))
            await eventually(lambda: told.granted == [("t/command", 1)] and sent[0] in told.acks)


@pytest.mark.parametrize("protocol", [5, 4])
async def test_nothing_is_sent_after_the_goodbye(protocol: int) -> None:
    def noting(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        kinds.append(kind)
        answer(raw, kind, flags, body)

    kinds: list[int] = []
    async with raw_broker() as raw:
        raw.on_packet = noting
        async with connected(at(raw, protocol)) as (session, told):
            raw.send(message(b"t/command", b"jwt", b"" if protocol == 5 else None, mid=3))
            assert session.publish("t/a", b"x") is not None
            await eventually(lambda: told.deliveries and told.acks)
            session.close()
            assert session.publish("t/b", b"x") is None
            told.deliveries[0].acknowledge()
            await asyncio.wait_for(session.ended, 10.0)
            assert kinds == [packets.PUBLISH, packets.DISCONNECT]
