"""A serial bus at the speed of its wire, asked with bytes made by hand."""

import asyncio

import pytest

from simulators.site import VirtualSite
from tests.simulators.raw import RawPort, checksum, frame
from tests.simulators.sites import bus_site

ASK_ONE = frame("01 03 0000 0001")
ANSWER_ONE = frame("01 03 02 0000")
ASK_TWO = frame("02 03 0000 0001")
ANSWER_TWO = frame("02 03 02 0000")


@pytest.mark.parametrize(
    ("line", "bits", "latency"),
    [
        ({"baudrate": 9600}, 10, 0.005),
        ({"baudrate": 9600, "parity": "even"}, 11, 0.0),
        ({"baudrate": 19200, "stopbits": 2}, 11, 0.010),
        ({"baudrate": 115200}, 10, 0.0),
    ],
)
async def test_an_answer_comes_when_the_wire_can_have_carried_it(
    line: dict[str, object], bits: int, latency: float
) -> None:
    async with VirtualSite(bus_site(**line), latency=latency) as site, RawPort(site.addresses["bus"]) as port:
        character = bits / float(str(line["baudrate"]))
        silence = 0.00175 if line["baudrate"] == 115200 else 3.5 * character
        physics = 8 * character + silence + latency + 45 * character
        seconds = []
        for _ in range(10):
            answer, took = await port.ask(frame("01 03 0000 0014"), 45)
            seconds.append(took)
            await asyncio.sleep(2 * silence)

    assert answer == frame("01 03 28" + "0000" * 20)
    assert min(seconds) >= physics
    assert min(seconds) <= physics + 0.010  # the quickest: a machine that is busy with other things delays the others


async def test_the_bytes_of_an_answer_trickle() -> None:
    async with VirtualSite(bus_site(baudrate=2400)) as site, RawPort(site.addresses["bus"]) as port:
        await port.ask(frame("01 03 0000 0014"), 45)
        first, last = port.times[0], port.times[44]
        steps = {round(time, 4) for time in port.times}

    assert last - first >= 40 * 10 / 2400
    assert len(steps) >= 10


async def test_time_on_the_wire_adds_up_and_does_not_drift() -> None:
    async with VirtualSite(bus_site(baudrate=19200), latency=0.002) as site, RawPort(site.addresses["bus"]) as port:
        begin = asyncio.get_running_loop().time()
        for _ in range(20):
            assert (await port.ask(ASK_ONE, 7))[0] == ANSWER_ONE
        took = asyncio.get_running_loop().time() - begin
        counts = site.line("bus").counts

    assert took >= 20 * ((8 + 7 + 3.5) * 10 / 19200 + 0.002)
    assert (counts.requests, counts.answers, counts.ignored, counts.bytes) == (20, 20, 0, 20 * 15)


async def test_units_are_told_apart_and_strangers_are_not_answered() -> None:
    async with VirtualSite(bus_site(baudrate=115200)) as site, RawPort(site.addresses["bus"]) as port:
        site.set("one.v0", 0x1234)
        site.set("two.v0", 0x5678)

        assert (await port.ask(ASK_ONE, 7))[0] == frame("01 03 02 1234")
        assert (await port.ask(ASK_TWO, 7))[0] == frame("02 03 02 5678")
        port.send(frame("09 03 0000 0001"))
        await port.nothing(0.05)
        port.send(ASK_ONE[:-1] + b"\0")
        await port.nothing(0.05)
        assert (await port.ask(ASK_ONE, 7))[0] == frame("01 03 02 1234")

        assert site.line("bus").counts.requests == 4
        assert site.line("bus").counts.ignored == 1


async def test_an_unknown_function_and_half_a_request_end_by_silence() -> None:
    async with VirtualSite(bus_site(baudrate=115200)) as site, RawPort(site.addresses["bus"]) as port:
        assert (await port.ask(frame("01 2b 0e 01 00"), 5))[0] == frame("01 ab 01")
        port.send(ASK_ONE[:5])
        await port.nothing(0.05)
        assert (await port.ask(ASK_ONE, 7))[0] == ANSWER_ONE
        assert site.line("bus").counts.ignored == 1


async def test_a_request_may_come_in_pieces_without_pause() -> None:
    async with VirtualSite(bus_site(baudrate=1200)) as site, RawPort(site.addresses["bus"]) as port:
        port.send(ASK_ONE[:3])
        await asyncio.sleep(0)
        port.send(ASK_ONE[3:])

        assert await port.receive(7) == ANSWER_ONE


async def test_a_broadcast_is_obeyed_by_all_and_answered_by_none() -> None:
    async with VirtualSite(bus_site(baudrate=115200)) as site, RawPort(site.addresses["bus"]) as port:
        port.send(frame("00 05 0001 ff00"))
        await port.nothing(0.05)

        assert site.value("relay.do1") is True
        assert [(it.device, it.point, it.value) for it in site.writes] == [("relay", "do1", True)]


async def test_a_write_is_recorded_with_the_time_it_was_through() -> None:
    async with VirtualSite(bus_site()) as site, RawPort(site.addresses["bus"]) as port:
        request = frame("03 05 0001 ff00")
        sent = asyncio.get_running_loop().time()
        answer, _ = await port.ask(request, 8)
        written = site.writes[0]

    assert answer == request
    assert sent + 11.5 * 10 / 9600 <= written.mono <= port.times[0]


async def test_strict_units_want_their_silence() -> None:
    line = {"baudrate": 1200}
    async with VirtualSite(bus_site(**line), strict_silence=True) as site, RawPort(site.addresses["bus"]) as port:
        assert (await port.ask(ASK_ONE, 7))[0] == ANSWER_ONE
        port.send(ASK_TWO)
        await port.nothing(0.2)
        assert site.line("bus").counts.ignored == 1
        assert (await port.ask(ASK_TWO, 7))[0] == ANSWER_TWO
        await asyncio.sleep(3.5 * 10 / 1200)
        assert (await port.ask(ASK_ONE, 7))[0] == ANSWER_ONE


@pytest.mark.parametrize("strict", [True, False])
async def test_two_frames_glued_together_are_one_damaged_frame_to_strict_units(*, strict: bool) -> None:
    line = {"baudrate": 1200}
    async with VirtualSite(bus_site(**line), strict_silence=strict) as site, RawPort(site.addresses["bus"]) as port:
        port.send(ASK_ONE)
        while site.line("bus").counts.bytes < 8:
            await asyncio.sleep(0)
        port.send(ASK_TWO)
        if strict:
            await port.nothing(0.3)
            assert site.line("bus").counts.ignored == 1
        else:
            assert await port.receive(7) == ANSWER_ONE


async def test_whoever_speaks_while_a_unit_does_is_not_heard() -> None:
    async with VirtualSite(bus_site(baudrate=2400)) as site, RawPort(site.addresses["bus"]) as port:
        port.send(frame("01 03 0000 0014"))
        await port.receive(1)
        port.send(ASK_TWO)

        assert await port.receive(44) == frame("01 03 28" + "0000" * 20)[1:]
        await port.nothing(0.05)
        assert site.line("bus").counts.collisions == 1


async def test_a_silent_unit_does_not_act_and_costs_the_others_nothing() -> None:
    async with VirtualSite(bus_site(baudrate=115200)) as site, RawPort(site.addresses["bus"]) as port:
        site.silence("relay")
        port.send(frame("03 05 0001 ff00"))
        await port.nothing(0.05)
        assert not site.writes
        assert (await port.ask(ASK_ONE, 7))[0] == ANSWER_ONE

        site.restore("relay")
        assert (await port.ask(frame("03 05 0001 ff00"), 8))[0] == frame("03 05 0001 ff00")


async def test_delay_is_each_time_and_late_is_once() -> None:
    async with VirtualSite(bus_site(baudrate=115200), latency=0.0) as site, RawPort(site.addresses["bus"]) as port:
        site.delay("one", 0.05)
        assert (await port.ask(ASK_ONE, 7))[1] >= 0.05
        assert (await port.ask(ASK_ONE, 7))[1] >= 0.05
        site.restore("one")

        site.faults("one").late = 0.3
        sent = port.send(ASK_ONE)
        await port.nothing(0.04)
        assert (await port.ask(ASK_TWO, 7))[0] == ANSWER_TWO
        port.times.clear()
        assert await port.receive(7) == ANSWER_ONE
        assert port.times[-1] - sent >= 0.3
        assert site.faults("one").late == 0


async def test_a_late_answer_comes_before_the_next_one_of_its_unit() -> None:
    async with VirtualSite(bus_site(baudrate=115200)) as site, RawPort(site.addresses["bus"]) as port:
        site.set("one.v1", 7)
        site.faults("one").late = 0.05
        port.send(ASK_ONE)
        await asyncio.sleep(0.02)
        port.send(frame("01 03 0001 0001"))

        assert await port.receive(14) == ANSWER_ONE + frame("01 03 02 0007")


async def test_garbled_answers() -> None:
    async with VirtualSite(bus_site(baudrate=115200), seed=3) as site, RawPort(site.addresses["bus"]) as port:
        site.garble("one", "flip")
        for _ in range(20):
            flipped, _ = await port.ask(ASK_ONE, 7)
            assert flipped != ANSWER_ONE
            assert checksum(flipped[:-2]) != flipped[-2:]
        site.garble("one", "noise")
        noise, _ = await port.ask(ASK_ONE, 7)
        assert checksum(noise[:-2]) != noise[-2:]
        site.garble("one", "cut")
        port.send(ASK_ONE)
        with pytest.raises(TimeoutError):
            await port.receive(7, within=0.1)
        assert port.got
        assert ANSWER_ONE.startswith(port.got)
    assert noise not in (flipped, ANSWER_ONE)


async def test_the_same_seed_garbles_the_same() -> None:
    seen = []
    for _ in range(2):
        async with VirtualSite(bus_site(baudrate=115200), seed=3) as site, RawPort(site.addresses["bus"]) as port:
            site.garble("one", "noise")
            seen.append([(await port.ask(ASK_ONE, 7))[0] for _ in range(3)])

    assert seen[0] == seen[1]


async def test_wrong_unit_wrong_function_exception_glitch_and_echo() -> None:
    async with VirtualSite(bus_site(baudrate=115200)) as site, RawPort(site.addresses["bus"]) as port:
        faults = site.faults("one")
        faults.wrong_unit = True
        assert (await port.ask(ASK_ONE, 7))[0] == ANSWER_TWO
        faults.clear()
        faults.wrong_function = True
        assert (await port.ask(ASK_ONE, 7))[0] == frame("01 04 02 0000")
        faults.clear()
        faults.exception = 6
        assert (await port.ask(ASK_ONE, 5))[0] == frame("01 83 06")
        faults.clear()
        faults.glitch = b"\0"
        assert (await port.ask(ASK_ONE, 8))[0] == b"\0" + ANSWER_ONE
        faults.clear()
        faults.echo = True
        faults.times = 1
        assert (await port.ask(ASK_ONE, 15))[0] == ASK_ONE + ANSWER_ONE
        assert (await port.ask(ASK_ONE, 7))[0] == ANSWER_ONE


async def test_an_echo_adapter_echoes_requests_to_nobody_too() -> None:
    async with VirtualSite(bus_site(baudrate=115200)) as site, RawPort(site.addresses["bus"]) as port:
        bus = site.line("bus").bus
        assert bus is not None
        bus.echo = True

        assert (await port.ask(frame("09 06 0000 0001"), 8))[0] == frame("09 06 0000 0001")
        assert (await port.ask(ASK_ONE, 15))[0] == ASK_ONE + ANSWER_ONE
