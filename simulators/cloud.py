"""A cloud that follows the MQTT contract: takes the events of a site, drops repeats, notices gaps.

Written with aiomqtt, as a cloud developer would. It keeps its session, so a broker that remembers sessions
hands it what came while it was away.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import orjson
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from simulators.signing import LIFE_S, Signer

Event = dict[str, Any]

_RETRY_S = 0.2
_SESSION = 3600
_REPLIES = 256


@dataclass
class Cloud:
    """What arrived. `events`: each event once, in order of arrival; retained topics only in `latest`."""

    port: int
    host: str = "127.0.0.1"
    root: str = "site-gateway/v1"
    client_id: str = "cloud"
    topics: tuple[str, ...] = ("#",)
    """What it subscribes to, below `root`."""
    on_event: Callable[[str, Event], None] | None = None
    on_reply: Callable[[str, Event], None] | None = None
    events: list[Event] = field(default_factory=list)
    latest: dict[str, Event] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    """Monotonic time of arrival by event id."""
    repeats: int = 0
    connections: int = 0
    replies: OrderedDict[str, Event] = field(default_factory=OrderedDict)
    """The last replies to commands, by `jti`."""
    replayed: list[Event] = field(default_factory=list)
    """What came once more because somebody asked for it."""
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _client: aiomqtt.Client | None = None

    async def run(self) -> None:
        """Stay connected until cancelled."""
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = _SESSION
        while True:
            try:
                async with aiomqtt.Client(
                    self.host,
                    self.port,
                    identifier=self.client_id,
                    protocol=aiomqtt.ProtocolVersion.V5,
                    clean_start=False,
                    properties=session,
                ) as client:
                    await client.subscribe([(f"{self.root}/{topic}", SubscribeOptions(qos=1)) for topic in self.topics])
                    self.connections += 1
                    self._client = client
                    self._tell()
                    async for message in client.messages:
                        again = ("replay", "1") in getattr(message.properties, "UserProperty", ())
                        self._take(str(message.topic), bytes(message.payload or b""), again=again)
            except aiomqtt.MqttError:
                await asyncio.sleep(_RETRY_S)
            finally:
                self._client = None

    async def command(
        self,
        cmd: str,
        args: Mapping[str, Any] | None = None,
        *,
        signer: Signer,
        life: float = LIFE_S,
        timeout: float = 10.0,
        **claims: Any,
    ) -> Event:
        """Send a command to the signer's gateway, and wait for its reply: `{jti, cmd, ok, result | error}`.

        `claims`: others than those that `Signer.claims` makes. Without `nonce` the one of the retained status is
        named, as the gateway's clock may not be synced. Raises TimeoutError.
        """
        status = self.latest.get("status")
        claims.setdefault("nonce", status["data"]["nonce"] if status else None)
        made = signer.claims(cmd, args or {}, life=life, **claims)
        jti = made["jti"]
        self.replies.pop(jti, None)
        await self.send(signer.audience, signer.sign(made).encode(), timeout=timeout)
        await self.until(lambda cloud: jti in cloud.replies, timeout)
        reply: Event = self.replies[jti]["data"]
        return reply

    async def send(self, source: str, payload: bytes, *, retain: bool = False, timeout: float = 10.0) -> None:
        """Publish whatever it is as a command to the gateway `source`. Raises TimeoutError.

        The reply is wanted on a topic of our own.
        """
        _, _, site, _, gateway = source.split("/")
        about = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        about.ResponseTopic = f"{self.root}/{site}/{gateway}/reply/{self.client_id}"
        async with asyncio.timeout(timeout):
            await self.until(lambda cloud: cloud._client is not None, timeout)  # noqa: SLF001 - our own
            if self._client is None:
                raise TimeoutError
            await self._client.publish(
                f"{self.root}/{site}/{gateway}/command", payload, qos=1, retain=retain, properties=about
            )

    async def until(self, reached: Callable[["Cloud"], bool], timeout: float = 20.0) -> None:
        """Wait until `reached(self)`. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not reached(self):
                self._news.clear()
                await self._news.wait()

    def of(self, kind: str, subject: str | None = None) -> list[Event]:
        """Events whose type is `sitegateway.KIND.v1` or begins with `sitegateway.KIND.` (and of that subject)."""
        return [
            event
            for event in self.events
            if event["type"].startswith(f"sitegateway.{kind}.") and subject in (None, event.get("subject"))
        ]

    def gaps(self) -> dict[tuple[str, str], list[int]]:
        """Sequence numbers that never came, by (journal, stream), up to the highest seen."""
        seen: dict[tuple[str, str], set[int]] = {}
        for event in self.events:
            if "sequence" in event:
                seen.setdefault((event["journal"], event["stream"]), set()).add(int(event["sequence"]))
        return {key: lost for key, got in seen.items() if (lost := sorted(set(range(1, max(got) + 1)) - got))}

    def _take(self, topic: str, payload: bytes, *, again: bool) -> None:
        if not payload or topic.endswith("/command"):
            return
        event = orjson.loads(payload)
        if again:
            self.replayed.append(event)
        elif event["type"] == "sitegateway.command.reply.v1":
            self._take_reply(event)
            if self.on_reply:
                self.on_reply(topic, event)
        elif "sequence" not in event:
            self.latest[topic.removeprefix(f"{self.root}/").split("/", 2)[-1]] = event
        elif (key := (event["source"], event["id"])) in self._seen:
            self.repeats += 1
        else:
            self._seen.add(key)
            self.events.append(event)
            self.arrived[event["id"]] = time.monotonic()
            if self.on_event:
                self.on_event(topic, event)
        self._tell()

    def _take_reply(self, event: Event) -> None:
        self.replies[event["data"]["jti"]] = event
        if len(self.replies) > _REPLIES:
            self.replies.popitem(last=False)

    def _tell(self) -> None:
        self._news.set()
