"""However many look at a line, and whatever came over it: one decodes, and the others have their turns."""

import asyncio
import sys
import traceback

from gateway.local.frames import MOST_BYTES, Frames
from gateway.local.trace import Piece, crc16


def rtu(*data: int) -> bytes:
    return bytes(data) + crc16(bytes(data)).to_bytes(2, "little")


ASK, ANSWER = rtu(12, 3, 0, 3, 0, 1), rtu(12, 3, 2, 0, 1)
UNITS = {12: "meter"}


def talk(*pieces: bytes) -> list[Piece]:
    return [("<>"[data == ASK], at / 100, data) for at, data in enumerate(pieces)]


async def test_it_is_told_in_words_and_kept_a_second_for_all() -> None:
    frames = Frames()
    first = await frames.of("bus", talk(ASK, ANSWER), UNITS, 1.0, 10.0, bus=True)
    assert [(one["device"], one["asked"], one["said"]) for one in first.exchanges] == [
        ("meter", "read holding 3 x 1", "1")
    ]
    assert await frames.of("bus", talk(ASK), UNITS, 1.9, 10.0, bus=True) is first
    assert len((await frames.of("bus", talk(ASK, ANSWER, ASK), UNITS, 1.9, 60.0, bus=True)).exchanges) == 2
    assert (await frames.of("bus", talk(ASK), UNITS, 99.0, 10.0, bus=True)).exchanges == []


async def test_only_the_newest_bytes_are_looked_at() -> None:
    long = b"\xff" * (MOST_BYTES // 4)
    told = await Frames().of("bus", talk(*[ASK, long] * 8), UNITS, 1.0, 60.0, bus=True)

    assert len(told.exchanges) == 3


def decoders() -> int:
    """Threads that decode at this moment."""
    stacks = [traceback.walk_stack(frame) for frame in sys._current_frames().values()]  # noqa: SLF001 - documented
    return sum(any(frame.f_code.co_name == "_told" for frame, _ in stack) for stack in stacks)


async def test_one_is_decoded_at_a_time_and_the_loop_has_its_turns() -> None:
    frames, worst = Frames(), bytes((12, 3, 250)) * 340
    pieces = talk(*[ASK, worst] * 100)
    seen = []

    async def ask(line: str) -> None:
        await frames.of(line, pieces, UNITS, 1.0, 60.0, bus=True)

    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        gone = group.create_task(ask("a"), name="gone")
        while not decoders():
            await asyncio.sleep(0)
        gone.cancel()
        last = group.create_task(ask("b"), name="last")
        while not last.done():
            seen.append(decoders())
            await asyncio.sleep(0)
    assert max(seen) == 1, "who left first is waited for"
    assert seen.count(1) > 100
