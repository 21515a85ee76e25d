from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.modbus.frames import (
    Ask,
    count_of,
    crc16,
    judge,
    read,
    resized,
    search,
    trimmed,
    whole_frames,
    write_one,
    write_registers,
)

# Requests and answers of real devices; the file says where each comes from.
VECTORS = [
    [cell.strip() for cell in line.split("|")]
    for line in (Path(__file__).parent / "modbus-rtu-frames.hex").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
FRAMES = {name: bytes.fromhex(data) for name, data, *_ in VECTORS}


def rtu(pdu: bytes, unit: int) -> bytes:
    frame = bytes((unit,)) + pdu
    return frame + crc16(frame)


def answer(ask: Ask, data: bytes) -> bytes:
    frame = ask.head + data if ask.is_read else ask.head
    return frame + crc16(frame)


asks = st.builds(
    lambda unit, function, address, count: read(unit, function, address, count, rtu),
    st.integers(1, 255),
    st.integers(1, 4),
    st.integers(0, 0xFF00),
    st.integers(1, 125),
)
noise = st.binary(max_size=40)


@pytest.mark.parametrize(("name", "verdict"), [(name, verdict) for name, _, verdict, *_ in VECTORS])
def test_the_crc_of_real_frames(name: str, verdict: str) -> None:
    frame = FRAMES[name]
    assert (crc16(frame[:-2]) == frame[-2:]) is verdict.startswith("ok")


@pytest.mark.parametrize(
    ("request_name", "ask"),
    [
        ("smoke-read", read(1, 3, 2, 1, rtu)),
        ("level-read", read(2, 3, 0, 1, rtu)),
        ("level-set-address", write_one(2, 6, 0x1000, 3, rtu)),
        ("level-set-address-fc16", write_registers(2, 0x1000, b"\0\3", rtu)),
        ("meter-read", read(1, 4, 0, 2, rtu)),
        ("distance-read", read(0x50, 3, 0x34, 1, rtu)),
        ("sht3x-read", read(1, 3, 0x100, 4, rtu)),
        ("relay4-on-odd", write_one(1, 5, 1, 0x0100, rtu)),
        ("lc-input-read", read(255, 2, 0, 8, rtu)),
        ("waveshare-flash-off", write_one(1, 5, 0x0400, 8, rtu)),
    ],
)
def test_real_requests_come_out_byte_for_byte(request_name: str, ask: Ask) -> None:
    assert ask.frame == FRAMES[request_name]


def test_real_answers() -> None:
    level = search(FRAMES["level-answer"], read(2, 3, 0, 1, rtu), None)
    assert level is not None
    assert level.answer == b"\x00\x1f"
    distance = search(FRAMES["distance-answer"], read(0x50, 3, 0x34, 1, rtu), None)
    assert distance is not None
    assert distance.answer == (1803).to_bytes(2, "big")
    inputs = search(FRAMES["lc-input-answer"], read(255, 2, 0, 8, rtu), None)
    assert inputs is not None
    assert inputs.answer == b"\x01"
    refusal = search(FRAMES["exception-illegal-address"], read(1, 3, 2, 1, rtu), None)
    assert refusal is not None
    assert refusal.answer == 2


@pytest.mark.parametrize(
    ("name", "ask"),
    [("sht3x-info-answer", read(1, 3, 0, 7, rtu)), ("sht3x-answer", read(1, 3, 0x100, 4, rtu))],
)
def test_answers_with_a_turned_crc_are_no_answers(name: str, ask: Ask) -> None:
    assert search(FRAMES[name], ask, None) is None


@given(asks, st.binary(min_size=250, max_size=250), noise, noise, st.booleans())
def test_an_answer_is_found_in_noise_and_behind_an_echo(
    ask: Ask, data: bytes, before: bytes, after: bytes, echoed: bool
) -> None:
    data = data[: ask.size - 3]
    before = before.replace(bytes((ask.unit,)), b"")
    right = answer(ask, data)
    assume(right != ask.frame)
    found = search(before + (ask.frame if echoed else b"") + right + after, ask, None)
    assert found is not None
    assert found.answer == data
    assert found.echoed is echoed


@given(asks, st.binary(max_size=300))
def test_what_is_taken_matches_in_every_respect(ask: Ask, buffer: bytes) -> None:
    found = search(buffer, ask, None)
    if found is not None:
        frame = buffer[found.start : found.end]
        assert frame[0] == ask.unit
        assert crc16(frame[:-2]) == frame[-2:]
        assert frame[:3] == ask.head or (frame[1] == ask.pdu[0] | 0x80 and len(frame) == 5)


@given(asks, asks, st.binary(min_size=250, max_size=250), noise)
def test_an_answer_to_another_question_is_passed_over(mine: Ask, other: Ask, data: bytes, before: bytes) -> None:
    assume(mine.head != other.head)
    foreign = answer(other, data[: other.size - 3])
    assert search(before + foreign, mine, None) is None
    right = answer(mine, data[: mine.size - 3])
    assume(right != mine.frame)
    found = search(foreign + right, mine, None)
    assert found is not None
    assert found.answer == data[: mine.size - 3]


@given(asks, st.binary(min_size=250, max_size=250), st.data())
def test_a_cut_or_changed_answer_is_no_answer(ask: Ask, data: bytes, draw: st.DataObject) -> None:
    whole = answer(ask, data[: ask.size - 3])
    assert search(whole[: draw.draw(st.integers(0, len(whole) - 1))], ask, None) is None
    at, bit = draw.draw(st.integers(0, len(whole) - 1)), draw.draw(st.integers(0, 7))
    changed = bytearray(whole)
    changed[at] ^= 1 << bit
    assert search(bytes(changed), ask, None) is None


@pytest.mark.parametrize("function", [5, 6])
def test_the_echo_of_a_write_is_not_its_answer(function: int) -> None:
    ask = write_one(1, function, 7, 0xFF00, rtu)
    assert ask.alike
    for echoes in (True, None):
        assert search(ask.frame, ask, echoes) is None
        found = search(ask.frame + ask.frame, ask, echoes)
        assert found is not None
        assert found.echoed
        refusal = bytes((1, function | 0x80, 4))
        refused = search(ask.frame + refusal + crc16(refusal), ask, echoes)
        assert refused is not None
        assert refused.answer == 4
    plain = search(ask.frame, ask, echoes=False)
    assert plain is not None
    assert plain.answer == b""


def test_the_answer_to_fc16_is_no_echo() -> None:
    ask = write_registers(1, 7, b"\0\1\0\2", rtu)
    assert not ask.alike
    assert search(ask.frame, ask, None) is None
    found = search(ask.frame + answer(ask, b""), ask, echoes=False)
    assert found is not None
    assert found.echoed


def test_a_read_whose_echo_looks_like_its_answer() -> None:
    ask = read(1, 1, 0x0305, 24, rtu)  # 01 01 03 05 00 18: also an answer of three bytes
    assert ask.alike
    assert search(ask.frame, ask, None) is None
    found = search(ask.frame + answer(ask, b"\1\2\3"), ask, None)
    assert found is not None
    assert found.answer == b"\1\2\3"


@given(asks, st.integers(1, 125))
def test_another_count_asks_for_the_same_place(ask: Ask, count: int) -> None:
    other = resized(ask, count, rtu)
    assert other.pdu[:3] == ask.pdu[:3]
    assert count_of(other) == count
    assert other.head[:2] == ask.head[:2]


@given(asks, st.binary(min_size=250, max_size=250))
def test_of_a_longer_answer_only_what_was_wanted_is_left(ask: Ask, data: bytes) -> None:
    wanted = trimmed(ask, data)
    assert len(wanted) == ask.size - 3
    bits = count_of(ask) if ask.pdu[0] <= 2 else 8 * len(wanted)
    number = int.from_bytes(data, "little") & (1 << bits) - 1
    assert int.from_bytes(wanted, "little") == number


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=4), st.binary(max_size=4))
def test_whole_frames_are_found_one_behind_the_other(datas: list[bytes], noise: bytes) -> None:
    frames = [adu + crc16(adu) for data in datas for adu in (bytes((9, 3, len(data))) + data,)]
    buffer = b"\x55" * len(noise) + b"".join(frames)
    assert [frame for frame, _ in whole_frames(buffer)] == frames


@given(asks, st.binary(min_size=2, max_size=260))
def test_only_the_right_unit_function_and_length_are_judged_an_answer(ask: Ask, adu: bytes) -> None:
    found = judge(adu, 0, len(adu), ask)
    right = adu[:3] == ask.head and len(adu) == ask.size
    refused = len(adu) == 3 and adu[0] == ask.unit and adu[1] == ask.pdu[0] | 0x80
    assert (found is not None) == (right or refused)
