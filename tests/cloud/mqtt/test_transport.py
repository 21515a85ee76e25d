"""The way to the broker: attempts that overlap, so that a link that came back is used at once."""

import asyncio
import socket
import time

import pytest

from gateway.cloud.mqtt.transport import connect
from gateway.errors import UplinkDown


def full() -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose queue is full: the kernel drops every further SYN, as a dark route does."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    while True:
        client = socket.socket()
        client.settimeout(0.3)
        waiting.append(client)
        try:
            client.connect(listener.getsockname())
        except TimeoutError:
            return listener, waiting


def dial(listener: socket.socket, timeout: float) -> float:
    """When a connection was there (monotonic seconds)."""
    connect("127.0.0.1", listener.getsockname()[1], timeout=timeout, silence=10, tls=None).shut()
    return time.monotonic()


async def test_a_link_that_came_back_is_used_within_a_second() -> None:
    listener, waiting = await asyncio.to_thread(full)
    with listener:
        async with asyncio.TaskGroup() as group:
            dialling = group.create_task(asyncio.to_thread(dial, listener, 15.0), name="dial")
            # The kernel's own repetitions come after 1, 3 and 7 s: this is early in the longest pause.
            await asyncio.sleep(3.4)
            for client in waiting:
                client.close()
            listener.setblocking(False)
            back = time.monotonic()
            while not dialling.done():
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    await asyncio.sleep(0.01)

    assert dialling.result() - back < 1.0


async def test_a_dark_route_ends_with_the_time() -> None:
    listener, waiting = await asyncio.to_thread(full)
    began = time.monotonic()
    with pytest.raises(UplinkDown, match="no answer in time"):
        await asyncio.to_thread(dial, listener, 1.5)

    assert 1.4 < time.monotonic() - began < 3.0
    for client in (*waiting, listener):
        client.close()


def test_nobody_listens_is_said_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.monotonic()

    with pytest.raises(UplinkDown, match="refused"):
        connect("127.0.0.1", port, timeout=10, silence=10, tls=None)

    assert time.monotonic() - began < 1.0


def test_a_name_that_is_none() -> None:
    with pytest.raises(UplinkDown):
        connect("no..name", 1883, timeout=2, silence=10, tls=None)
