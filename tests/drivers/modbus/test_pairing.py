"""No history of kept, doubled, shifted and foreign answers puts a value under a wrong point."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.frames import Ask, read
from drivers.modbus.line import ModbusPoller
from drivers.modbus.pairing import Pairing, UnitLimits
from drivers.modbus.settings import LineSettings, ModbusDevice, ModbusPoint
from gateway.clock import Clock
from gateway.driver import Block
from gateway.errors import DeviceError, LineDown
from gateway.field.lines import Line
from gateway.field.telemetry import TelemetrySender
from gateway.model import Input, Lane, OwnHealth
from tests.drivers.modbus.converter import MUTE, PLAIN, PLANNED, STRICT, Client, Converter, named, on_terminal, sealed
from tests.drivers.modbus.lines import until
from tests.inboxes import Inbox

CEILING = 0.02
UNITS = (PLAIN, STRICT, MUTE)
PLACES = (("holding", 3, 0), ("holding", 3, 100), ("holding", 3, 200), ("input", 4, 0))
HISTORIES = ("keep", "keep", "double", "double-later", "double-next", "shift", "drop", "late", "foreign", "nothing")
Wrong = list[str]


def rtu(pdu: bytes, unit: int) -> bytes:
    return sealed(bytes((unit,)) + pdu)


def device(unit: int) -> ModbusDevice:
    points = [
        ModbusPoint(name=f"{table}{address}.{part}", table=table, address=address + at)  # type: ignore[arg-type]
        for table, _, address in PLACES
        for at, part in enumerate(("name", "given"))
    ]
    return ModbusDevice(id=f"d{unit}", unit=unit, points=tuple(points), timeout=CEILING)


@asynccontextmanager
async def behind(kind: str, converter: Converter, *units: int) -> AsyncIterator[ModbusPoller]:
    """A line to the converter; opened by whoever uses it."""
    devices = tuple(device(unit) for unit in units)
    if kind == "pty":
        with on_terminal(converter) as path:
            yield ModbusPoller(LineSettings(name="bus", serial=path, baudrate=115200, devices=devices))
        return
    server = await asyncio.get_running_loop().create_server(lambda: Client(converter), "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield ModbusPoller(
            LineSettings(name="bus", host="127.0.0.1", port=port, framing="rtu", baudrate=115200, devices=devices)
        )
    finally:
        server.close()


class Reader:
    """Reads blocks by chance, and judges every value."""

    def __init__(self, line: ModbusPoller, converter: Converter, rng: random.Random) -> None:
        self.line, self.converter, self.rng = line, converter, rng
        self.wrong: Wrong = []
        self.read = self.missed = 0
        self.history = self.before = ""
        self.confirms = {block: line.block_for(block.device, block.points, Lane.ORDER)[0] for block in line.blocks()}

    async def one(self, block: Block) -> bool:
        """Read it, at times as a confirming read; whether there was an answer."""
        began = self.converter.given
        asked = self.confirms[block] if self.rng.random() < 0.3 else block
        try:
            raw = await self.line.read(asked, self.rng.choice((0.4, 1.0)) * CEILING)
        except LineDown:
            raise
        except DeviceError:
            self.missed += 1
            return False
        self.read += 1
        found = {name: decoded.value for name, decoded in self.line.decode(asked, raw).items()}
        self.judge(block, found, began)
        return True

    def judge(self, block: Block, found: Mapping[str, object], began: int) -> None:
        place = block.points[0].rpartition(".")[0]
        _, function, address = next(each for each in PLACES if place == f"{each[0]}{each[2]}")
        name = named(int(block.device[1:]), function, address)
        if found[f"{place}.name"] != name:
            self.wrong.append(f"{self.history}: {block.device} {place} holds {found} instead of {name:#x}")
        given = found[f"{place}.given"]
        assert isinstance(given, int)
        age = (self.converter.given - given) % 0x10000
        since = (self.converter.given - began) % 0x10000
        if age >= since and not self.may_be_of_the_question_before(block, given):
            self.wrong.append(f"{self.history}: {block.device} {place} is {age} answers old, asked {since} ago")

    def may_be_of_the_question_before(self, block: Block, given: int) -> bool:
        """Who answers one count only can be asked the same twice in a row: a second copy is found out a read later."""
        if block.device == f"d{PLAIN}" or "double" not in self.before:
            return False
        return given == self.converter.asked[-1][0] or given == self.converter.asked[-2][0]


async def history(reader: Reader) -> None:
    """One thing goes wrong, at some time between some reads; then the line is well again, and everything is read."""
    rng, converter, line = reader.rng, reader.converter, reader.line
    blocks = list(line.blocks())
    reader.history = rng.choice(HISTORIES)
    reader.before = f"{reader.before.rpartition(' ')[2]} {reader.history}"
    again = reader.history == "keep" or rng.random() < 0.05
    converter.keeps = reader.history == "keep"
    converter.kept_instead = rng.random() < 0.5
    if reader.history == "foreign":
        for _ in range(rng.randrange(1, 4)):
            frame = converter.foreign(*rng.choice(((3, 0), (3, 100), (4, 0), (3, 900))))
            converter.send(frame)
            await asyncio.sleep(rng.choice((0.0, 0.001)))
            await reader.one(rng.choice(blocks))
    elif reader.history not in ("keep", "nothing"):
        converter.vice = reader.history  # type: ignore[assignment]
    for _ in range(rng.randrange(1, 4)):
        await reader.one(rng.choice(blocks))
        await asyncio.sleep(rng.choice((0.0, 0.0, 0.001, 0.004)))
    converter.vice, converter.keeps = "", False
    if again:
        await line.__aexit__(None, None, None)
        await asyncio.sleep(0.001)
        await line.__aenter__()
    for _ in range(2):
        await reader.one(rng.choice(blocks))


async def histories(kind: str, seed: int, count: int) -> tuple[Wrong, int, int]:
    rng = random.Random(seed)  # noqa: S311 - repeatable
    converter = Converter(rng)
    units = rng.choice((UNITS, (PLAIN,), (PLAIN, MUTE), (STRICT,), (MUTE,)))
    converter.latest = (3.0 if units == (PLAIN,) else 0.8) * CEILING
    async with behind(kind, converter, *units) as line:
        await line.__aenter__()
        reader = Reader(line, converter, rng)
        for _ in range(count):
            await history(reader)
            if reader.wrong:
                break
        for block in line.blocks():  # whatever it was, it is over
            for _ in range(10):
                if await reader.one(block):
                    break
            else:
                reader.wrong.append(f"{block.points} of {block.device} is not read any more")
        await line.__aexit__(None, None, None)
    return reader.wrong, reader.read, reader.missed


async def judge(kind: str, seeds: range, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(histories(kind, seed, count), name=f"line {seed}") for seed in seeds]
    results = [run.result() for run in runs]
    read, missed = sum(each[1] for each in results), sum(each[2] for each in results)
    sys.stdout.write(f"\n{len(seeds) * count} histories: {read} values, {missed} misses\n")
    assert not (wrong := [text for each in results for text in each[0]]), "\n".join(wrong)
    assert read > missed


@pytest.mark.parametrize("kind", ["pty", "tcp"])
async def test_no_history_puts_a_value_under_a_wrong_point(kind: str) -> None:
    await judge(kind, range(60), 25)


READS = st.builds(
    lambda unit, function, address, count: read(unit, function, address, count, rtu),
    st.sampled_from((1, 2)),
    st.sampled_from((1, 3, 4)),
    st.integers(0, 400),
    st.integers(1, 6),
)


@given(st.lists(READS, min_size=1, max_size=16, unique_by=lambda ask: ask.frame))
def test_no_two_requests_of_a_line_have_one_shape(asks: list[Ask]) -> None:
    pairing = Pairing(rtu, {1: UnitLimits(), 2: UnitLimits()})
    shapes = [shape for ask in asks for shape in (pairing.plain(ask), pairing.other(ask)) if shape is not None]
    assert len({shape.head for shape in shapes}) == len(shapes)
    for ask in asks:
        assert pairing.plain(ask).frame == pairing.plain(ask).frame
        assert pairing.plain(ask).pdu[:3] == ask.pdu[:3]
        assert pairing.plain(ask).size >= ask.size, "it reads all that is wanted"
        first, second = pairing.other(ask), pairing.other(ask)
        assert first is not None
        assert second is not None
        assert len({pairing.plain(ask).head, first.head, second.head}) == 3
        asked = {pairing.plain(ask).head}
        assert pairing.challenge(ask, asked, ()).head not in asked


def test_a_device_has_its_limits() -> None:
    pairing = Pairing(rtu, {1: UnitLimits(registers=2, bits=8), 2: UnitLimits(fixed=True)})
    one, other = read(1, 3, 0, 2, rtu), read(1, 3, 100, 2, rtu)
    assert pairing.plain(one).frame == one.frame
    assert pairing.plain(other).frame == other.frame
    assert not pairing.is_own(other, pairing.plain(other)), "it goes behind another question"
    assert pairing.other(read(2, 1, 0, 8, rtu)) is None


def test_what_is_told_of_it_ends_after_a_quiet_minute() -> None:
    pairing = Pairing(rtu, {1: UnitLimits()})
    assert pairing.told(100.0) == {"unpaired": 0, "unproved": 0, "confused": None}
    pairing.unpaired(sealed(bytes.fromhex("09 03 02 00 01")), 100.0)
    assert pairing.told(159.0)["confused"] == "what another master asks, or is answered: 09 03 02 00 01 98 45"
    assert pairing.told(161.0) == {"unpaired": 1, "unproved": 0, "confused": None}


@pytest.mark.parametrize("instead", [True, False])
@pytest.mark.parametrize("kind", ["pty", "tcp"])
async def test_an_answer_kept_from_a_lost_connection_shows_nothing(kind: str, instead: bool) -> None:
    """The fire that it shows was over when the line came back."""
    converter = Converter(random.Random(7))  # noqa: S311 - repeatable
    async with behind(kind, converter, PLAIN) as line:
        block = line.blocks()[0]
        async with line:
            await line.read(block, CEILING)
        for _ in range(3):
            converter.kept, converter.kept_instead = [converter.answer_to(PLAIN, 3, 0, PLANNED, given=0xDEAD)], instead
            async with line:
                seen: list[object] = []
                while len(seen) < 3:
                    with suppress(DeviceError):
                        raw = await line.read(block, CEILING)
                        seen.append(line.decode(block, raw)["holding0.given"].value)
            assert 0xDEAD not in seen
            assert line.oddities["unpaired"]
            assert line.oddities["confused"]


async def test_a_confirming_read_has_another_shape_than_the_read_before_it() -> None:
    converter = Converter(random.Random(7))  # noqa: S311 - repeatable
    async with behind("tcp", converter, PLAIN, STRICT, MUTE) as line, line:
        for block in line.blocks():
            confirm = line.block_for(block.device, block.points, Lane.ORDER)[0]
            for each in (block, block, confirm, block, confirm, confirm, block):
                for _ in range(4):
                    with suppress(DeviceError):
                        await line.read(each, CEILING)
                        break
    sent = [data for way, _, data in line.frames if way != "<"]
    shapes = [(frame[0], frame[1], frame[4:6]) for frame in sent]
    plain = [pair for pair in pairwise(shapes) if pair[0] == pair[1] and pair[0][0] == PLAIN]
    assert plain == [], "never twice in a row"
    assert len(sent) > 3 * 4 * 7


async def test_what_was_not_paired_is_an_alarm_of_the_line() -> None:
    converter = Converter(random.Random(7))  # noqa: S311 - repeatable
    told: list[Input] = []

    async def put(item: Input) -> None:
        told.append(item)

    clock = Clock()
    async with (
        behind("tcp", converter, PLAIN) as poller,
        TelemetrySender(lambda *_: None, clock, every=300.0) as telemetry,
        asyncio.TaskGroup() as group,
    ):
        chance = random.Random(1)  # noqa: S311 - repeatable
        line = Line("bus", poller, watched={}, inbox=Inbox(put), telemetry=telemetry, clock=clock, rng=chance)
        task = group.create_task(line.run(), name="line")
        await until(lambda: line.up)
        converter.send(converter.foreign(3, 900))
        async with asyncio.timeout(30):
            while not any(isinstance(item, OwnHealth) and not item.well for item in told):
                await asyncio.sleep(0.01)
        task.cancel()
    alarms = [item for item in told if isinstance(item, OwnHealth)]
    assert {item.alarm for item in alarms} == {"bus/bus-confused"}
    assert [item.well for item in alarms] == [True, False], "nothing stands from the life before; then it is told once"
    assert "another master" in alarms[-1].detail


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["pty", "tcp"])
async def test_a_hundred_thousand_histories(kind: str) -> None:
    for first in range(1000, 1500, 100):
        await judge(kind, range(first, first + 100), 100)
