"""A TCP line that a running gateway owns, or that another program speaks with, is not asked beside it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from simulators.site import VirtualSite
from tests.end_to_end.process import running
from tests.technician.command import Ended, site_gateway
from tests.technician.yard import HEAD, site_file, virtual

NET = """\
lines:
  net: {driver: modbus, tcp: "127.0.0.1:1"}
devices:
  board:
    line: net
    unit: 1
    points: {level: {at: holding 0, write: true, every: 1s}}
"""


class Relay:
    """A serial server as the network sees it: passes bytes on, and counts who connected."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.partition(":")
        self._port = int(port)
        self.connections = 0
        self.up = True
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop()
        self._server.close()

    def drop(self) -> None:
        """Nobody gets through any more."""
        self.up = False
        for writer in self._writers:
            writer.transport.abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if not self.up:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, back), name="there")
                group.create_task(self._pass(there, writer), name="back")
        except* OSError:
            pass
        finally:
            self._writers -= {writer, back}
            writer.close()
            back.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()


class Owned(NamedTuple):
    """A gateway that asks over TCP."""

    path: Path
    site: VirtualSite
    net: Relay
    pid: int


@pytest.fixture
async def owned(tmp_path: Path) -> AsyncIterator[Owned]:
    async with virtual(tmp_path, HEAD + NET) as (path, site), Relay(site.addresses["net"]) as net:
        path.write_text(path.read_text().replace(site.addresses["net"], net.address))
        async with running(path) as gateway:
            async with asyncio.timeout(10):
                while not site.counts("net").requests:
                    await asyncio.sleep(0.01)
            yield Owned(path, site, net, gateway.pid)


async def scan(where: str, *words: str) -> Ended:
    return await site_gateway("scan", "--tcp", where, "--units", "1-3", *words)


async def test_scan_refuses_the_line_of_a_running_gateway(owned: Owned) -> None:
    ended = await scan(owned.net.address)
    assert ended.status == 2
    assert "owns it, as line net" in ended.err
    assert "site-gateway read" in ended.err
    assert owned.net.connections == 1


async def test_also_while_it_has_lost_the_line(owned: Owned) -> None:
    owned.net.drop()
    ended = await scan(owned.net.address)
    assert (ended.status, "owns it, as line net" in ended.err) == (2, True), ended.err


async def test_also_by_another_name_of_the_machine(owned: Owned) -> None:
    ended = await scan(owned.net.address.replace("127.0.0.1", "localhost"))
    assert (ended.status, "owns it, as line net" in ended.err) == (2, True), ended.err


async def test_a_gateway_that_hangs_still_owns_its_line(owned: Owned) -> None:
    os.kill(owned.pid, signal.SIGSTOP)
    try:
        ended = await scan(owned.net.address)
    finally:
        os.kill(owned.pid, signal.SIGCONT)
    assert (ended.status, f"process {owned.pid} (" in ended.err) == (2, True), ended.err
    assert owned.net.connections == 1


async def test_read_and_write_go_through_it(owned: Owned) -> None:
    wrote = await site_gateway("write", owned.path, "board.level", "7")
    read = await site_gateway("read", owned.path, "board.level")
    assert (wrote.status, read.out) == (0, "level: 7 (GOOD)\n"), wrote.err
    assert owned.net.connections == 1


async def test_read_and_write_by_another_site_file_are_refused(owned: Owned, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    path, _ = site_file(other, HEAD + NET.replace("127.0.0.1:1", owned.net.address))
    for words in (("read", path, "board.level"), ("write", path, "board.level", "9")):
        ended = await site_gateway(*words)
        assert (ended.status, "owns it, as line net" in ended.err) == (2, True), ended.err
    looked = await site_gateway("doctor", path)
    assert "is not asked: " in looked.out
    assert owned.net.connections == 1
    assert owned.site.value("board.level") != 9


async def test_another_program_that_speaks_with_it_is_named(tmp_path: Path) -> None:
    async with virtual(tmp_path, HEAD + NET) as (_, site):
        host, _, port = site.addresses["net"].partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        ended = await scan(site.addresses["net"])
        writer.close()
        assert (ended.status, f"process {os.getpid()} (" in ended.err) == (2, True), ended.err
        async with asyncio.timeout(10):
            while True:
                ended = await scan(site.addresses["net"], "--framing", "tcp")
                if ended.status == 0:
                    break
        assert "unit: 1" in ended.out
