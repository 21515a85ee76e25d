"""The uplink against a real mosquitto."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from gateway.clock import Clock
from gateway.cloud.mqtt.types import Limits, TlsFiles
from gateway.model import Stream
from simulators import packets
from simulators.packets import PublishPacket
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.running import ROOT, eventually, running, sequences
from tests.mosquitto import mosquitto

QUICK = Limits(retry_first=0.05, retry_quick=0.1, retry_last=0.2)


@dataclass
class Heard:
    """What a subscriber got."""

    messages: list[PublishPacket] = field(default_factory=list)


@asynccontextmanager
async def listener(port: int) -> AsyncIterator[Heard]:
    """Subscribe to everything until the block ends."""
    heard = Heard()

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            assert isinstance(payload, bytes)
            heard.messages.append(PublishPacket(str(message.topic), payload, message.qos, bool(message.retain)))

    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("#", qos=1)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(listen(client), name="listener")
            try:
                yield heard
            finally:
                task.cancel()


async def test_everything_arrives_over_a_restart_and_quickly_again(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    async with mosquitto(tmp_path) as broker, running(broker.port, outbox) as run:
        async with listener(broker.port) as heard:
            for _ in range(200):
                outbox.add(Stream.TELEMETRY)
                outbox.add(Stream.ALARM)
            await eventually(lambda: not outbox.left)
            await eventually(lambda: len(sequences(heard.messages, Stream.TELEMETRY)) == 200)
        await broker.stop(kill=True)
        await eventually(lambda: not run.uplink.snapshot().connected)
        for _ in range(200):
            outbox.add(Stream.TELEMETRY)
        await eventually(lambda: len(run.told.links) >= 2)
        await broker.start()
        begun = time.monotonic()
        await eventually(lambda: outbox.waiting(Stream.TELEMETRY) < 200, 5.0)
        assert time.monotonic() - begun <= 1.0
        await eventually(lambda: not outbox.left)
        taken = [row.sequence for row in outbox.acknowledged if row.stream is Stream.TELEMETRY]
        assert taken == list(range(1, 401))
        assert run.uplink.snapshot().reconnects >= 1


async def test_wrong_rights_for_one_topic(tmp_path: Path) -> None:
    rights = tmp_path / "acl"
    everything_but_alarms = f"topic readwrite {ROOT}/telemetry\ntopic readwrite {ROOT}/status\n"
    rights.write_text(everything_but_alarms)
    outbox = MemoryOutbox()
    for _ in range(5):
        outbox.add(Stream.ALARM)
        outbox.add(Stream.TELEMETRY)
    async with (
        mosquitto(tmp_path, acl_file=rights) as broker,
        running(broker.port, outbox, limits=QUICK) as run,
    ):
        await eventually(lambda: outbox.waiting(Stream.TELEMETRY) == 0)
        await eventually(lambda: len(run.told.refusals) == 2)
        assert sorted(run.told.refusals) == [(Stream.ALARM, 0x87), ("alarm/active", 0x87)]
        assert outbox.waiting(Stream.ALARM) == 5
        rights.write_text(f"topic readwrite {ROOT}/#\n")
        broker.reload()
        await eventually(lambda: not outbox.left)
        assert (Stream.ALARM, None) in run.told.refusals
        assert run.uplink.snapshot().reconnects == 0
        assert not outbox.quarantined


async def test_a_packet_over_the_limit_is_set_aside(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    async with mosquitto(tmp_path, max_packet_size=2000) as broker, running(broker.port, outbox) as run:
        outbox.add(Stream.ALARM)
        large = outbox.add(Stream.ALARM, size=2500)
        outbox.add(Stream.ALARM)
        await eventually(lambda: not outbox.left)
        assert list(outbox.quarantined) == [large.n]
        assert run.uplink.snapshot().reconnects == 0


async def test_every_size_around_the_limit(tmp_path: Path) -> None:
    """The size that is reckoned is never less than the true one, or the broker would hang up."""
    outbox = MemoryOutbox()
    async with mosquitto(tmp_path, max_packet_size=2000) as broker, running(broker.port, outbox) as run:
        for size in range(1900, 2010):
            outbox.add(Stream.ALARM, size=size)
        await eventually(lambda: not outbox.left)
        assert max(len(row.payload) for row in outbox.acknowledged) >= 2000 - 70
        assert run.uplink.snapshot().reconnects == 0


async def test_status_will_and_the_next_start(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, listener(broker.port) as heard:

        def online() -> list[bool]:
            return [json.loads(m.payload)["data"]["online"] for m in heard.messages if m.topic == f"{ROOT}/status"]

        async with running(broker.port, will_delay=0):
            await eventually(lambda: online() == [True])
        await eventually(lambda: online() == [True, False])
        async with running(broker.port, will_delay=0) as run:
            await eventually(lambda: online() == [True, False, True])
            await run.uplink.farewell(1.0)
            await eventually(lambda: online() == [True, False, True, False])
        assert heard.messages[0].topic == f"{ROOT}/alarm/active"


async def test_mqtt_3_1_1(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    async with mosquitto(tmp_path) as broker, running(broker.port, outbox, protocol=4):
        for _ in range(100):
            outbox.add(Stream.ALARM)
        await eventually(lambda: not outbox.left)


@dataclass(frozen=True)
class Authority:
    """A certificate authority to be thrown away."""

    folder: Path

    def make(self, name: str, *, start: str | None = None) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key; `start` as YYYYMMDDHHMMSSZ."""
        key, request, cert = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        days = ("-startdate", start, "-enddate", "21200101000000Z") if start else ("-days", "30")
        self._openssl("ca", "-batch", "-notext", "-config", self._configuration(), "-in", request, "-out", cert, *days)
        return cert, key

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def begin(self) -> None:
        """Make the authority's own certificate."""
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("01\n")
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=authority"),
            *("-addext", "keyUsage=critical,keyCertSign", "-keyout", self.folder / "ca.key", "-out", self.certificate),
        )

    def _configuration(self) -> Path:
        path = self.folder / "ca.cnf"
        path.write_text(
            f"""[ca]\ndefault_ca = d\n[d]\ndatabase = {self.folder}/index.txt\nserial = {self.folder}/serial
new_certs_dir = {self.folder}\ncertificate = {self.certificate}\nprivate_key = {self.folder}/ca.key
default_md = sha256\npolicy = p\nx509_extensions = e\nunique_subject = no\n[p]\ncommonName = supplied
[e]\nsubjectAltName = IP:127.0.0.1\n"""
        )
        return path

    @staticmethod
    def _openssl(*words: str | Path) -> None:
        subprocess.run(("openssl", *map(str, words)), check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    authority.begin()
    return authority


async def test_tls_with_a_client_certificate(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.make("broker")
    ours = authority.make("gateway")
    options = {"cafile": authority.certificate, "certfile": cert, "keyfile": key, "require_certificate": "true"}
    outbox = MemoryOutbox()
    for _ in range(300):
        outbox.add(Stream.TELEMETRY, size=700)
    outbox.add(Stream.AUDIT, size=200_000)
    async with mosquitto(tmp_path, **options) as broker:
        async with running(broker.port, outbox, tls=TlsFiles(authority.certificate, *ours)) as run:
            await eventually(lambda: not outbox.left)
            async with aiomqtt.Client(
                "127.0.0.1",
                broker.port,
                protocol=aiomqtt.ProtocolVersion.V5,
                tls_params=aiomqtt.TLSParameters(str(authority.certificate), str(ours[0]), str(ours[1])),
            ) as client:
                for n in range(40):
                    await client.publish(f"{ROOT}/command", bytes(10_000 + n), qos=1)
                for _ in range(40):
                    await eventually(lambda: run.told.commands)
                    run.told.commands.pop(0)[2].acknowledge()
            assert run.uplink.snapshot().reconnects == 0
        async with running(broker.port, tls=TlsFiles(authority.certificate), client_id="bare") as without:
            await eventually(lambda: any(not up for up, _ in without.told.links))
            assert not any(up for up, _ in without.told.links)
            assert "TLS" in without.told.links[0][1] or "reset" in without.told.links[0][1]


async def test_tls_files_are_read_anew_at_each_connection(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.make("renewed")
    trusted = tmp_path / "trusted.pem"
    async with (
        mosquitto(tmp_path, certfile=cert, keyfile=key) as broker,
        running(broker.port, tls=TlsFiles(trusted)) as run,
    ):
        await eventually(lambda: run.told.links)
        assert run.told.links[0][1].endswith(f"{trusted}: no such file or directory")
        trusted.write_bytes(authority.certificate.read_bytes())
        await eventually(lambda: run.uplink.snapshot().connected)


@pytest.mark.parametrize("synced", [False, True])
async def test_a_certificate_of_the_future_waits_for_the_time(
    tmp_path: Path, authority: Authority, synced: bool
) -> None:
    cert, key = authority.make(f"future{synced}", start="21000101000000Z")
    clock = Clock(synced=lambda: synced)
    async with (
        mosquitto(tmp_path, certfile=cert, keyfile=key) as broker,
        running(broker.port, tls=TlsFiles(authority.certificate), clock=clock) as run,
    ):
        await eventually(lambda: run.told.links)
        text = run.told.links[0][1]
        assert (text == "waiting for time") is not synced
        assert ("not yet valid" in text) is synced


async def test_the_acl_of_the_page(tmp_path: Path) -> None:
    """It gives the gateway all that it needs, and a stolen login no command."""
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    rights = page[page.index("user xmxc-01") :].split("```")[0]
    (tmp_path / "acl").write_text(
        rights.replace("site-gateway/v1/xima-xincun/xmxc-01", ROOT).replace("site-gateway/v1/+/+", ROOT)
    )
    outbox = MemoryOutbox()
    for stream in Stream:
        outbox.add(stream)
    async with (
        mosquitto(tmp_path, acl_file=tmp_path / "acl") as broker,
        running(broker.port, outbox, username="xmxc-01") as run,
    ):
        run.uplink.set_health({"x": 1})
        run.uplink.reply(f"{ROOT}/reply/me", b"{}")
        await eventually(lambda: not outbox.left and run.uplink.snapshot().in_flight == 0)
        await eventually(lambda: "status" in broker.log)
        assert run.uplink.snapshot().refused == {}
        assert run.told.troubles == []
        assert run.uplink.snapshot().replies_lost == 0
        async with aiomqtt.Client(
            "127.0.0.1", broker.port, username="xmxc-01", identifier="thief", protocol=aiomqtt.ProtocolVersion.V5
        ) as thief:
            await thief.publish(f"{ROOT}/command", b"x", qos=1)
        async with aiomqtt.Client("127.0.0.1", broker.port, username="cloud-commands") as cloud:
            await cloud.publish(f"{ROOT}/command", b"y", qos=1)
        await eventually(lambda: run.told.commands)
        assert [payload for _, payload, _ in run.told.commands] == [b"y"]


@asynccontextmanager
async def spoken(port: int, client_id: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare client of MQTT 5 under this id that keeps its session, beyond the greeting."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    name = client_id.encode()
    body = b"\0\x04MQTT\x05\0\0\x3c\x05\x11\0\0\x0e\x10" + len(name).to_bytes(2, "big") + name
    writer.write(packets.packet(packets.CONNECT, body))
    head = await reader.readexactly(2)
    await reader.readexactly(head[1])
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def subscription(name: str, qos: int) -> bytes:
    topic = name.encode()
    body = b"\0\1\0" + len(topic).to_bytes(2, "big") + topic + bytes([qos])
    return packets.packet(packets.SUBSCRIBE, body, 2)


async def publish_twice(port: int, *topics_: str) -> None:
    """Messages of QoS 2, as anybody may send them."""
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        for topic in topics_:
            await client.publish(topic, b"x", qos=2)


@pytest.mark.parametrize("left", ["waiting", "sent", "received", "on the command topic"])
@pytest.mark.parametrize("protocol", [5, 4])
async def test_messages_of_qos_2_that_a_stranger_left_in_our_session_stop_nothing(
    tmp_path: Path, left: str, protocol: int
) -> None:
    """Somebody has connected with our client id, subscribed at QoS 2 and gone in the midst of the four steps."""
    command = f"{ROOT}/command"
    async with mosquitto(tmp_path) as broker:
        async with spoken(broker.port, "gw") as (reader, writer):
            writer.write(subscription(command if left == "on the command topic" else "#", 2))
            assert (await reader.readexactly(6))[0] == 0x90, "a SUBACK"
            if left in ("sent", "received"):
                await publish_twice(broker.port, "other/site/telemetry")
                sent = await reader.read(200)
                assert sent[0] & 0xF6 == 0x34, "a PUBLISH of QoS 2"
                if left == "received":
                    at = 4 + sent[3]
                    writer.write(packets.packet(5, sent[at : at + 2]))
                    assert (await reader.read(10))[0] == 0x62, "a PUBREL, which is never answered"
        await publish_twice(broker.port, *[command] * 3, "other/site/telemetry")
        async with running(broker.port, protocol=protocol, limits=QUICK) as run, listener(broker.port) as heard:
            await eventually(lambda: run.uplink.snapshot().connected and run.uplink.snapshot().commands is None)
            run.outbox.add(Stream.ALARM)
            await eventually(lambda: not run.outbox.left, 20.0)
            async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as cloud:
                await eventually(lambda: online_at_last(heard), 20.0)
                await cloud.publish(command, b"jwt", qos=2)
            await eventually(lambda: (command, b"jwt") in [one[:2] for one in run.told.commands], 20.0)
            before = run.uplink.snapshot().reconnects
            await publish_twice(broker.port, "other/site/telemetry")
            assert run.uplink.snapshot().connected
            assert run.uplink.snapshot().reconnects == before <= 3
            assert run.told.troubles[-1][0] == "commands-dropped"


def online_at_last(heard: Heard) -> bool:
    """The last word of the gateway on its state."""
    told = [json.loads(one.payload) for one in heard.messages if one.topic == f"{ROOT}/status"]
    return bool(told) and bool(told[-1]["data"]["online"])
