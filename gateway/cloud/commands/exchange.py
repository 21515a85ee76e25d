"""Passes commands from the broker to the site, and replies back.

A command is acknowledged to the broker once it is in the site's inbox; while the inbox is full it waits here
unacknowledged. A reply goes to `T/reply`, and also to the command's response topic if that lies below `T/reply`; the
correlation data of MQTT 5 (4.10) is returned unchanged.
"""

import asyncio
import re
from collections import OrderedDict, deque
from typing import NamedTuple, Protocol

from gateway.clock import Clock
from gateway.cloud.events import SYNCED, UNSYNCED, envelope, timestamp, type_name
from gateway.cloud.mqtt.types import MessageEnvelope, UplinkSettings
from gateway.driver import SiteInbox
from gateway.log import logger
from gateway.model import Command, Refused, Reply
from gateway.new_id import new_id

_log = logger(__name__)

_BELOW = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WAITING = 64
_CORRELATIONS = 256
_CORRELATION_BYTES = 512


class Judge(Protocol):
    """Judges a payload."""

    def verify(
        self, payload: bytes, *, size: int | None = None, retained: bool = False, reply_to: str | None = None
    ) -> Command | Refused:
        """Never raises."""
        ...


class NoKeys:
    """The judge of a site file without `commands`: there is no key, so no signature is valid."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def verify(
        self, payload: bytes, *, size: int | None = None, retained: bool = False, reply_to: str | None = None
    ) -> Command | Refused:
        """Never raises."""
        del payload, size, retained, reply_to
        text = "this gateway takes no commands: its site file names no key"
        return Refused("bad-signature", text, self._clock.now())


class Closed:
    """The desk while commands are off: commands are acknowledged and counted but not read."""

    def __init__(self) -> None:
        self.ignored = 0

    def arrived(self, topic: str, _payload: bytes, envelope: MessageEnvelope) -> bool:
        """One came."""
        if not self.ignored:
            _log.warning("commands are off: what comes is acknowledged and not read", topic=topic)
        self.ignored += 1
        envelope.acknowledge()
        return True


class ReplyMessage(NamedTuple):
    """A reply as a message."""

    topic: str
    payload: bytes
    correlation: bytes | None


class _Arrival(NamedTuple):
    payload: bytes
    envelope: MessageEnvelope


class Exchange:
    """Receives commands and makes replies. Passing a command to the inbox waits while there is no room."""

    def __init__(self, settings: UplinkSettings, judge: Judge, clock: Clock, inbox: SiteInbox) -> None:
        self._settings = settings
        self._judge = judge
        self._clock = clock
        self._inbox = inbox
        self._arrivals: deque[_Arrival] = deque()
        self._filled = asyncio.Event()
        self._correlations: OrderedDict[str, bytes] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Commands that are not judged yet."""
        return len(self._arrivals)

    def arrived(self, _topic: str, payload: bytes, envelope: MessageEnvelope) -> bool:
        """Take a command; False if 64 wait already, and this one is dropped."""
        if len(self._arrivals) >= _WAITING:
            return False
        self._arrivals.append(_Arrival(payload, envelope))
        self._filled.set()
        return True

    async def run(self) -> None:
        """Judge commands and pass them on, one after the other, until cancelled."""
        while True:
            while not self._arrivals:
                self._filled.clear()
                await self._filled.wait()
            payload, envelope = self._arrivals.popleft()
            item = self._judge.verify(
                payload,
                size=envelope.size,
                retained=envelope.retain,
                reply_to=response_topic(self._settings.root, envelope.response_topic),
            )
            if isinstance(item, Command) or item.signed:
                self._note(item.jti, envelope.correlation)
            await self._inbox.put(item)
            envelope.acknowledge()

    def answers(self, reply: Reply) -> list[ReplyMessage]:
        """The messages for a reply of the site; call after the commit of its step."""
        root, at = self._settings.root, self._clock.now()
        payload = envelope(
            id_=new_id(at),
            source=self._settings.source,
            type_=type_name("command.reply"),
            subject=None,
            time=timestamp(at.wall),
            clock=SYNCED if at.synced else UNSYNCED,
            boot=self._settings.boot,
            data=reply.data,
            simulated=self._settings.simulated,
        )
        correlation = self._correlations.get(reply.jti)
        topics = [f"{root}/reply"] if reply.reply_to is None else [f"{root}/reply", reply.reply_to]
        return [ReplyMessage(topic, payload, correlation) for topic in topics]

    def _note(self, jti: str | None, correlation: bytes | None) -> None:
        if jti is None:
            return
        self._correlations.pop(jti, None)
        if correlation is not None and len(correlation) <= _CORRELATION_BYTES:
            self._correlations[jti] = correlation
            if len(self._correlations) > _CORRELATIONS:
                self._correlations.popitem(last=False)


def response_topic(root: str, topic: str | None) -> str | None:
    """The response topic if a reply may go there: `T/reply/` and 1-64 of [A-Za-z0-9_-]."""
    below = f"{root}/reply/"
    if topic is not None and topic.startswith(below) and _BELOW.fullmatch(topic, len(below)):
        return topic
    return None
