"""Terminals and TCP ports: served, lost and back."""

import asyncio
import errno
import os
import socket
import struct
from pathlib import Path

import pytest

from simulators.site import VirtualSite
from simulators.wire import Outage
from tests.simulators.raw import RawPort, RawSocket, frame, tcp_frame
from tests.simulators.sites import bus_site, tcp_site

ASK = "01 03 0000 0001"
ANSWER = "01 03 02 0000"


async def _ask_without_end(deaf: socket.socket, request: bytes) -> None:
    async with asyncio.timeout(20):
        while True:
            await asyncio.get_running_loop().sock_sendall(deaf, request)


async def _gone(port: RawPort) -> None:
    async with asyncio.timeout(2):
        while not port.gone:
            await asyncio.sleep(0.001)


# ---- Modbus TCP ----


async def test_tcp_answers_by_transaction_and_unit_on_several_connections() -> None:
    async with VirtualSite(tcp_site()) as site:
        site.set("two.v0", 513)
        async with RawSocket(site.addresses["net"]) as first, RawSocket(site.addresses["net"]) as second:
            first.send(tcp_frame(1, ASK))
            second.send(tcp_frame(0xFFFE, "02 03 0000 0001"))

            assert await second.receive(11) == tcp_frame(0xFFFE, "02 03 02 0201")
            assert await first.receive(11) == tcp_frame(1, ANSWER)


async def test_tcp_takes_requests_glued_and_in_pieces() -> None:
    async with VirtualSite(tcp_site()) as site, RawSocket(site.addresses["net"]) as port:
        both = tcp_frame(1, ASK) + tcp_frame(2, ASK)
        port.send(both[:15])
        await asyncio.sleep(0.01)
        port.send(both[15:])

        assert await port.receive(22) == tcp_frame(1, ANSWER) + tcp_frame(2, ANSWER)


async def test_tcp_latency_is_kept_and_may_be_none() -> None:
    async with VirtualSite(tcp_site(), latency=0.2) as site, RawSocket(site.addresses["net"]) as port:
        assert (await port.ask(tcp_frame(1, ASK), 11))[1] >= 0.2
        site.unit("one").latency = 0.0
        assert (await port.ask(tcp_frame(2, ASK), 11))[1] < 0.2


async def test_an_unknown_unit_says_nothing_and_a_wrong_header_ends_the_connection() -> None:
    async with VirtualSite(tcp_site()) as site:
        async with RawSocket(site.addresses["net"]) as port:
            port.send(tcp_frame(1, "09 03 0000 0001"))
            await port.nothing(0.03)
            port.send(struct.pack(">HHHB", 1, 7, 6, 1))
            await _gone(port)
        async with RawSocket(site.addresses["net"]) as port:
            assert (await port.ask(tcp_frame(3, ASK), 11))[0] == tcp_frame(3, ANSWER)


async def test_knobs_over_tcp() -> None:
    async with VirtualSite(tcp_site(), latency=0.0, seed=5) as site, RawSocket(site.addresses["net"]) as port:
        faults = site.faults("one")
        faults.wrong_unit = True
        assert (await port.ask(tcp_frame(1, ASK), 11))[0] == tcp_frame(1, "02 03 02 0000")
        faults.clear()
        faults.exception = 4
        assert (await port.ask(tcp_frame(2, ASK), 9))[0] == tcp_frame(2, "01 83 04")
        faults.clear()
        site.garble("one", "flip")
        site.set("one.v0", 0x55AA)
        for transaction in range(10):
            flipped, _ = await port.ask(tcp_frame(transaction, ASK), 11)
            assert flipped[:8] != tcp_frame(transaction, ANSWER)[:8]
            assert flipped[8:] == bytes.fromhex("02 55aa")
        faults.clear()
        faults.late = 0.2
        port.send(tcp_frame(20, ASK))
        assert (await port.ask(tcp_frame(21, ASK), 11))[0][:2] == b"\0\x15"
        assert (await port.receive(11))[:2] == b"\0\x14"
        faults.echo = True
        assert (await port.ask(tcp_frame(22, ASK), 12))[0] == tcp_frame(22, ASK)


# ---- a line is lost ----


async def test_tcp_refused_and_back_on_the_same_port() -> None:
    async with VirtualSite(tcp_site()) as site:
        address = site.addresses["net"]
        async with RawSocket(address) as port:
            site.line_down("net")
            await _gone(port)
            with pytest.raises(ConnectionRefusedError):
                await RawSocket(address).__aenter__()
        site.line_up("net")
        assert site.addresses["net"] == address
        async with RawSocket(address) as port:
            assert (await port.ask(tcp_frame(1, ASK), 11))[0] == tcp_frame(1, ANSWER)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_tcp_connections_end_and_new_ones_are_taken(how: Outage) -> None:
    async with VirtualSite(tcp_site()) as site:
        reader, writer = await asyncio.open_connection(*site.addresses["net"].split(":"))
        writer.write(tcp_frame(1, ASK))
        await reader.readexactly(11)

        site.line_down("net", how)

        if how == "close":
            assert await reader.read() == b""
        else:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        writer.close()
        async with RawSocket(site.addresses["net"]) as port:
            assert (await port.ask(tcp_frame(1, ASK), 11))[0] == tcp_frame(1, ANSWER)


async def test_a_black_hole_takes_connections_and_answers_nothing() -> None:
    async with VirtualSite(tcp_site()) as site:
        site.line_down("net", "black-hole")
        async with RawSocket(site.addresses["net"]) as port:
            port.send(tcp_frame(1, ASK))
            await port.nothing(0.05)
            site.line_up("net")
            assert (await port.ask(tcp_frame(2, ASK), 11))[0] == tcp_frame(2, ANSWER)


async def test_a_terminal_is_pulled_out_and_put_back_under_its_name() -> None:
    async with VirtualSite(bus_site(baudrate=115200)) as site:
        name = Path(site.addresses["bus"])
        async with RawPort(str(name)) as port:
            assert (await port.ask(frame(ASK), 7))[0] == frame(ANSWER)
            site.line_down("bus")
            await _gone(port)
            assert not name.is_symlink()
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                port.send(frame(ASK))
        site.line_up("bus")
        async with RawPort(str(name)) as port:
            assert (await port.ask(frame(ASK), 7))[0] == frame(ANSWER)


async def test_a_terminal_can_leave_its_name_behind() -> None:
    async with VirtualSite(bus_site()) as site:
        name = Path(site.addresses["bus"])
        site.line_down("bus", "dangle")
        assert name.is_symlink()
        assert not name.exists()
        site.line_up("bus")
        assert name.exists()


async def test_a_line_is_lost_only_in_its_own_ways() -> None:
    async with VirtualSite(bus_site()) as site:
        with pytest.raises(ValueError, match="unplug or dangle, not by refuse"):
            site.line_down("bus", "refuse")
    async with VirtualSite(tcp_site()) as site:
        with pytest.raises(ValueError, match="refuse, close, reset or black-hole, not by unplug"):
            site.line_down("net", "unplug")


async def test_an_answer_that_was_under_way_is_lost_with_the_line() -> None:
    async with VirtualSite(bus_site()) as site:
        async with RawPort(site.addresses["bus"]) as port:
            port.send(frame("01 03 0000 0014"))
            await port.receive(1)
            site.line_down("bus")
        site.line_up("bus")
        async with RawPort(site.addresses["bus"]) as port:
            assert (await port.ask(frame(ASK), 7))[0] == frame(ANSWER)


# ---- RTU over TCP ----


async def test_rtu_over_tcp_is_paced_by_the_bus_behind_the_converter() -> None:
    async with (
        VirtualSite(tcp_site("rtu", baudrate=4800), latency=0.0) as site,
        RawSocket(site.addresses["net"]) as port,
    ):
        answers = [await port.ask(frame("01 03 0000 0014"), 45) for _ in range(5)]

    physics = (8 + 3.5 + 45) * 10 / 4800
    assert {answer for answer, _ in answers} == {frame("01 03 28" + "0000" * 20)}
    assert physics <= min(took for _, took in answers) <= physics + 0.010


async def test_rtu_over_tcp_answers_whoever_asked() -> None:
    async with VirtualSite(tcp_site("rtu", baudrate=115200)) as site:
        async with RawSocket(site.addresses["net"]) as first, RawSocket(site.addresses["net"]) as second:
            assert (await first.ask(frame(ASK), 7))[0] == frame(ANSWER)
            assert (await second.ask(frame("02 03 0000 0001"), 7))[0] == frame("02 03 02 0000")
            site.line_down("net", "close")
            await _gone(first)
        async with RawSocket(site.addresses["net"]) as third:
            assert (await third.ask(frame(ASK), 7))[0] == frame(ANSWER)


async def test_a_master_that_never_reads_is_cut_off() -> None:
    async with VirtualSite(tcp_site(), latency=0.0) as site:
        host, port = site.addresses["net"].split(":")
        with socket.socket() as deaf:
            deaf.setblocking(False)
            await asyncio.get_running_loop().sock_connect(deaf, (host, int(port)))
            with pytest.raises(ConnectionError):
                await _ask_without_end(deaf, tcp_frame(1, "01 03 0000 0014") * 1000)
