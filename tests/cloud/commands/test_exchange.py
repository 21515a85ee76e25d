"""Commands in and replies out, against a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiomqtt
import orjson
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.clock import Clock
from gateway.cloud.commands.claims import DEFAULT_ALLOW
from gateway.cloud.commands.exchange import Exchange, NoKeys, response_topic
from gateway.cloud.commands.verify import Key, Verifier
from gateway.cloud.mqtt.board import Nonces as BoardNonces
from gateway.cloud.mqtt.send_order import REPLIES, REPLY_BYTES
from gateway.cloud.mqtt.types import MAX_COMMAND_BYTES, MessageEnvelope
from gateway.cloud.mqtt.uplink import Uplink
from gateway.model import Command, Input, Json, Refused, Reply
from simulators.cloud import Cloud
from simulators.signing import Signer
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.running import ROOT, an_uplink, eventually, settings
from tests.cloud.signing import CLOUD, STRANGER, Known
from tests.contract.judge import faults
from tests.inbox import ShutInbox
from tests.mosquitto import mosquitto

SOURCE = "/sites/site/gateways/gw"
SIGNER = Signer(CLOUD, "cloud", SOURCE)

OPENED: Json = {"gate": "north", "decision": "opened", "commanded": "opening", "actual": "unknown", "verified": None}
"""What an opening results in."""


@dataclass
class Wired:
    """An uplink with the way in and the way back; what stands behind says what it was given."""

    uplink: Uplink
    exchange: Exchange
    taken: list[Command | Refused] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)


class Desk(ShutInbox):
    """Answers each command as the site would."""

    it: Wired

    async def put(self, item: Input) -> None:
        assert isinstance(item, Command | Refused)
        await self.it.free.wait()
        self.it.taken.append(item)
        if isinstance(item, Command):
            data: dict[str, Json] = {"jti": item.jti, "cmd": item.cmd, "ok": True, "result": OPENED}
        elif item.signed and item.jti is not None:
            error = {"code": item.code, "message": item.message}
            data = {"jti": item.jti, "cmd": item.cmd or "", "ok": False, "error": error}
        else:
            return
        assert item.jti is not None
        for answer in self.it.exchange.answers(Reply(item.jti, item.reply_to, data)):
            self.it.uplink.reply(*answer)


@asynccontextmanager
async def wired(port: int, *, synced: bool = True, keys: bool = True) -> AsyncIterator[Wired]:
    clock = Clock(synced=lambda: synced)
    ours = settings(port)

    key = Key("cloud", CLOUD.public_key(), DEFAULT_ALLOW)
    nonces, desk = BoardNonces(), Desk()
    judge = Verifier([key], SOURCE, clock, nonces, Known()) if keys else NoKeys(clock)
    exchange = Exchange(ours, judge, clock, desk)
    uplink = an_uplink(ours, MemoryOutbox(), clock, nonces=nonces, desk=exchange)
    it = desk.it = Wired(uplink, exchange)
    it.free.set()
    uplink.set_standing({}, 0)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(uplink.run(), name="uplink"),
            group.create_task(it.exchange.run(), name="exchange"),
        ]
        try:
            yield it
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def cloud(port: int) -> AsyncIterator[Cloud]:
    it = Cloud(port, root="t")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(it.run(), name="cloud")
        try:
            await it.until(lambda seen: "status" in seen.latest and bool(seen.latest["status"]["data"]["online"]))
            yield it
        finally:
            task.cancel()


OPEN = {"gate": "north", "reason": "visitor"}


@pytest.mark.parametrize("synced", [True, False])
async def test_a_command_and_its_reply(tmp_path: Path, *, synced: bool) -> None:
    async with mosquitto(tmp_path) as broker, wired(broker.port, synced=synced) as it, cloud(broker.port) as seen:
        reply = await seen.command("gate.open", OPEN, signer=SIGNER)
        assert reply == {"jti": reply["jti"], "cmd": "gate.open", "ok": True, "result": OPENED}
        (command,) = it.taken
        assert isinstance(command, Command)
        assert (command.sub, command.reply_to) == ("operator", f"{ROOT}/reply/cloud")
        assert faults(seen.replies[reply["jti"]]) == []


async def test_refusals_are_answered_only_if_the_signature_is_good(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, wired(broker.port) as it, cloud(broker.port) as seen:
        reply = await seen.command("gate.open", OPEN, signer=SIGNER, life=300.0)
        assert (reply["ok"], reply["error"]["code"]) == (False, "bad-args")
        stranger = Signer(STRANGER, "cloud", SOURCE)
        await seen.send(SOURCE, stranger.sign(stranger.claims("gate.open", OPEN)).encode())
        await seen.send(SOURCE, b"x" * (MAX_COMMAND_BYTES + 1))  # the broker keeps it back: over what we announce
        token = SIGNER.sign(SIGNER.claims("gate.open", OPEN, jti="kept"))
        await seen.send(SOURCE, token.encode(), retain=True)
        await seen.until(lambda cloud: "kept" in cloud.replies)
        assert seen.replies["kept"]["data"]["error"]["code"] == "retained"
        assert len(seen.replies) == 2
        codes = [item.code for item in it.taken if isinstance(item, Refused)]
        assert codes == ["bad-args", "bad-signature", "retained"]


async def test_without_keys_nothing_is_believed(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, wired(broker.port, keys=False) as it, cloud(broker.port) as seen:
        await seen.send(SOURCE, SIGNER.sign(SIGNER.claims("gate.open", OPEN)).encode())
        await eventually(lambda: it.taken)
        assert [(item.code, item.signed) for item in it.taken if isinstance(item, Refused)] == [
            ("bad-signature", False)
        ]
        assert not seen.replies


async def test_correlation_data_comes_back(tmp_path: Path) -> None:
    about = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    about.ResponseTopic = f"{ROOT}/reply/me"
    about.CorrelationData = b"\x00\x01mine"
    got: dict[str, bytes] = {}
    async with mosquitto(tmp_path) as broker, wired(broker.port) as it:
        await eventually(lambda: it.uplink.snapshot().connected)
        five = aiomqtt.ProtocolVersion.V5
        async with asyncio.timeout(10), aiomqtt.Client("127.0.0.1", broker.port, protocol=five) as client:
            await client.subscribe(f"{ROOT}/reply/#", qos=1)
            token = SIGNER.sign(SIGNER.claims("gate.open", OPEN))
            await client.publish(f"{ROOT}/command", token, qos=1, properties=about)
            async for message in client.messages:
                got[str(message.topic)] = getattr(message.properties, "CorrelationData", b"")
                assert getattr(message.properties, "ContentType", "") == "application/cloudevents+json"
                if len(got) == 2:
                    break
    assert got == {f"{ROOT}/reply": b"\x00\x01mine", f"{ROOT}/reply/me": b"\x00\x01mine"}


async def test_while_there_is_no_room_the_broker_keeps_it(tmp_path: Path) -> None:
    """Not acknowledged, so it comes again on the next connection."""
    async with mosquitto(tmp_path, persistence="true", persistence_location=f"{tmp_path}/") as broker:
        async with wired(broker.port) as full, cloud(broker.port) as seen:
            full.free.clear()
            for number in range(5):
                await seen.send(SOURCE, SIGNER.sign(SIGNER.claims("gate.open", OPEN, jti=f"j{number}")).encode())
            await eventually(lambda: full.exchange.waiting == 4)
            assert full.taken == []
        async with wired(broker.port) as it:
            await eventually(lambda: len(it.taken) == 5)
            assert [item.jti for item in it.taken] == [f"j{number}" for number in range(5)]


def test_a_flood_is_not_taken_in() -> None:
    clock = Clock(synced=lambda: True)
    acknowledged: list[int] = []
    one = Exchange(settings(1), NoKeys(clock), clock, ShutInbox())
    taken = [
        one.arrived("t", b"x" * 1000, MessageEnvelope(1000, False, None, partial(acknowledged.append, number)))
        for number in range(10_000)
    ]
    assert one.waiting == 64
    assert taken == [True] * 64 + [False] * 9936, "what is not taken is for the uplink to acknowledge and to count"
    assert acknowledged == []


@pytest.mark.parametrize(
    ("topic", "good"),
    [
        ("t/site/gw/reply/a", True),
        ("t/site/gw/reply/" + "x" * 64, True),
        ("t/site/gw/reply/" + "x" * 65, False),
        ("t/site/gw/reply/", False),
        ("t/site/gw/reply", False),
        ("t/site/gw/reply/a/b", False),
        ("t/site/gw/reply/a\n", False),
        ("t/site/gw/reply/ä", False),
        ("t/site/gw/command", False),
        ("t/site/gw/alarm", False),
        ("elsewhere", False),
        (None, False),
    ],
)
def test_where_a_reply_may_go(topic: str | None, *, good: bool) -> None:
    assert (response_topic(ROOT, topic) is not None) is good


def test_a_reply_is_a_cloud_event() -> None:
    clock = Clock(mono=lambda: 1.0, wall=lambda: 1_795_000_000.0, synced=lambda: False)
    one = Exchange(settings(1), NoKeys(clock), clock, ShutInbox())
    data: dict[str, Json] = {"jti": "j", "cmd": "read", "ok": False, "error": {"code": "silent", "message": "m"}}
    sent = [*one.answers(Reply("j", f"{ROOT}/reply/me", data)), *one.answers(Reply("k", None, data))]
    assert [(topic, correlation) for topic, _, correlation in sent] == [
        (f"{ROOT}/reply", None), (f"{ROOT}/reply/me", None), (f"{ROOT}/reply", None)
    ]  # fmt: skip
    event = orjson.loads(sent[0][1])
    assert (event["clock"], event["data"], event["source"]) == ("unsynced", data, SOURCE)
    assert "stream" not in event
    assert sent[0][1] == sent[1][1]
    assert faults(event) == []
    assert REPLIES * 100 < REPLY_BYTES
