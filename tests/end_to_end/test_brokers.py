"""The same day at three brokers: alarms over a kill of the gateway, a command and its reply, the Will, what is kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from simulators.signing import Signer, make_keys, read_secret_key
from tests.brokers import BROKERS, PROTOCOLS
from tests.cloud.running import eventually
from tests.cloud.running import running as uplink_running
from tests.end_to_end.process import running
from tests.foreign.tcp_server import TcpServer, foreign_tcp

T = "site-gateway/v1/xima-xincun/xmxc-01"
SITE = """\
version: 1
site: {{id: xima-xincun}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}", protocol: {protocol}, will: plain, keepalive: 5s}}
commands: {{keys: [{{id: cloud, ed25519: cloud.pub.pem}}]}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
devices:
  tank:
    line: loop
    points: {{level: {{at: holding 0, every: 50ms, alarms: {{water: {{below: 10}}}}}}}}
store: {{path: store, max_size: 64MiB, alarm_reserve: 1MiB}}
"""


@dataclass
class Consumer:
    """A cloud that speaks MQTT 3.1.1, as each of the brokers does."""

    client: aiomqtt.Client
    events: list[dict[str, Any]] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)

    async def listen(self) -> None:
        async for message in self.client.messages:
            event = json.loads(bytes(message.payload)) if str(message.topic) != f"{T}/command" else {}
            key = (str(message.topic), str(event.get("id")))
            if event and key not in self.seen:
                self.seen.add(key)
                self.events.append({**event, "topic": str(message.topic)})

    def of(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["topic"] == f"{T}/{name}"]

    def transitions(self) -> list[str]:
        return [event["type"].split(".")[2] for event in self.of("alarm") if event["subject"] == "tank/level/water"]

    async def until(self, reached: Callable[[], object]) -> None:
        await eventually(reached, 30.0)


@asynccontextmanager
async def consumer(port: int, name: str, topic: str = "site-gateway/v1/#") -> AsyncIterator[Consumer]:
    async with (
        aiomqtt.Client("127.0.0.1", port, identifier=name, protocol=aiomqtt.ProtocolVersion.V311) as client,
        asyncio.TaskGroup() as group,
    ):
        it = Consumer(client)
        task = group.create_task(it.listen(), name=name)
        await client.subscribe(topic, qos=1)
        try:
            yield it
        finally:
            task.cancel()


async def flip(server: TcpServer, cloud: Consumer, times: int) -> None:
    for _ in range(times):
        for level, name in ((0, "raised"), (99, "cleared")):
            count = len(cloud.transitions())
            await server.set("holding", 0, level)
            await cloud.until(lambda c=count: len(cloud.transitions()) > c)  # type: ignore[misc]
            assert cloud.transitions()[-1] == name


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", BROKERS)
async def test_a_day_at_a_broker(tmp_path: Path, name: str) -> None:
    secret, public = make_keys()
    (tmp_path / "cloud.pub.pem").write_bytes(public)
    (tmp_path / "cloud.key.pem").write_bytes(secret)
    signer = Signer(read_secret_key(tmp_path / "cloud.key.pem"), "cloud", "/sites/xima-xincun/gateways/xmxc-01")
    async with BROKERS[name](tmp_path) as port, foreign_tcp() as server:
        await server.set("holding", 0, 99)
        site, protocol = tmp_path / "site.yaml", {5: "5", 4: '"3.1.1"'}[PROTOCOLS[name]]
        site.write_text(SITE.format(broker=port, modbus=server.port, protocol=protocol))
        async with consumer(port, "cloud") as cloud:
            async with running(site) as gateway:
                await cloud.until(lambda: cloud.of("status") and cloud.of("status")[-1]["data"]["online"])
                await flip(server, cloud, 3)
                claims = signer.claims("read", {"device": "tank"})
                await cloud.client.publish(f"{T}/command", signer.sign(claims), qos=1)
                await cloud.until(lambda: cloud.of("reply"))
                assert cloud.of("reply")[0]["data"]["jti"] == claims["jti"]
                assert cloud.of("reply")[0]["data"]["ok"] is True
                await gateway.kill()
                await cloud.until(lambda: not cloud.of("status")[-1]["data"]["online"])  # the Will
            async with running(site):
                await cloud.until(lambda: cloud.of("status")[-1]["data"]["online"])
                await flip(server, cloud, 2)
                await server.set("holding", 0, 0)
                await cloud.until(lambda: len(cloud.transitions()) == 11)
                async with consumer(port, "late", f"{T}/alarm/active") as late:
                    await late.until(lambda: late.of("alarm/active") and late.of("alarm/active")[-1]["data"]["alarms"])
            numbers = [int(event["sequence"]) for event in cloud.of("alarm")]
            assert numbers == [*range(1, len(numbers) + 1)], "each once in effect, in order"
        if name != "mosquitto":
            async with uplink_running(port, protocol=5, client_id="five") as five:
                await eventually(lambda: five.told.links, 15.0)
                assert "`protocol:" in five.told.links[0][1], "it is said which key to change"
