"""Checks that the broker accepts us, with another client id, so that the running gateway keeps its connection."""

import asyncio
from dataclasses import replace
from typing import Any

from gateway.cloud.mqtt.session import Session
from gateway.cloud.mqtt.types import Broker, MessageEnvelope, Will

_GOODBYE_S = 1.0


class _Guest:
    """Sends nothing and asks for nothing, so there is nothing that it is told."""

    def acknowledged(self, acks: list[tuple[int, int]]) -> None:
        """Nothing was sent."""

    def subscribed(self, topic: str, code: int) -> None:
        """Nothing was asked for."""

    def arrived(self, topic: str | None, payload: bytes, envelope: MessageEnvelope) -> None:
        """Of no concern to a guest."""


async def reach(broker: Broker, topic: str) -> str | None:
    """Connect, log in, disconnect; None if the broker accepted us, else why not. `topic`: where we may publish.

    Nothing is published: the Will of the connection is dropped by the clean disconnect.
    """
    guest = replace(broker, client_id=f"{broker.client_id}-doctor")
    will = Will(topic, b"", retain=broker.retain) if broker.will else None
    session = Session(guest, will, _Guest())
    opened = session.open()
    either: list[asyncio.Future[Any]] = [opened, session.ended]
    await asyncio.wait(either, timeout=3 * broker.connect_timeout, return_when="FIRST_COMPLETED")
    if not opened.done():
        session.abort("no answer in time")
        return session.ended.result().text
    session.close()
    await asyncio.wait({session.ended}, timeout=_GOODBYE_S)
    session.abort("left")
    return None
