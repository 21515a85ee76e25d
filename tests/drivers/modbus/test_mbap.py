"""Answers in a stream of bytes, whatever stands around them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.frames import Ask, read
from drivers.modbus.mbap import EXACT, LONGEST_BYTES, AnswerStyle, find, frame_end, frames, tail


def seal(pdu: bytes, unit: int) -> bytes:
    return b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes((unit,)) + pdu


def answer(ask: Ask, number: int, unit: int | None = None) -> bytes:
    body = ask.head + bytes(range(ask.size - 3))
    body = body if unit is None else bytes((unit,)) + body[1:]
    return number.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(2, "big") + body


ASK = read(7, 3, 0, 2, seal)
LOOSE = (0, 1, None)
asks = st.builds(
    lambda unit, function, count: read(unit, function, 9, count, seal),
    st.integers(0, 255),
    st.integers(1, 4),
    st.integers(1, 125),
)


def test_where_a_frame_ends() -> None:
    frame = bytes.fromhex("0001 0000 0005 01 03 02 00 1f")
    assert frame_end(frame, 0) == 11
    assert frame_end(frame + frame, 11) == 22
    assert frame_end(frame[:-1], 0) is None
    assert frame_end(frame[:5], 0) is None
    for broken in ("0001 0001 0005 01 03", "0001 0000 0001 01 03", "0001 0000 00ff 01 03", "4854 5450 2f31 2e31"):
        assert frame_end(bytes.fromhex(broken) + bytes(300), 0) is None


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_frame_ends_inside_the_data_or_not_at_all(data: bytes, start: int) -> None:
    end = frame_end(data, start)
    assert end is None or start + 9 <= end <= len(data)


@given(asks, st.integers(1, 0xFFFF), st.binary(max_size=60), st.binary(max_size=60))
def test_an_answer_is_found_wherever_it_begins(ask: Ask, number: int, before: bytes, behind: bytes) -> None:
    whole = answer(ask, number)
    hit = find(before + whole + behind, ask, number, None)
    assert hit is not None
    assert hit.style == EXACT
    assert hit.start <= len(before)
    if hit.start == len(before):
        assert hit.end == len(before) + len(whole)
        assert hit.answer == whole[9:]


@given(asks, st.integers(1, 0xFFFF), st.binary(max_size=60), st.data())
def test_of_an_answer_cut_short_the_beginning_is_kept(
    ask: Ask, number: int, before: bytes, draw: st.DataObject
) -> None:
    whole = answer(ask, number)
    cut = draw.draw(st.integers(1, len(whole) - 1))
    rest = tail(before + whole[:cut])
    assert (before + whole[:cut]).endswith(rest)
    assert rest.endswith(whole[:cut])
    assert len(rest) < LONGEST_BYTES


@pytest.mark.parametrize(
    ("number", "unit", "style"),
    [
        (5, None, EXACT),
        (0, None, AnswerStyle(None)),
        (6, None, AnswerStyle(1)),
        (5, 0, AnswerStyle(0, 0)),
        (0, 255, AnswerStyle(None, 255)),
    ],
)
def test_identity_as_devices_have_it(number: int, unit: int | None, style: AnswerStyle) -> None:
    hit = find(answer(ASK, number, unit), ASK, 5, LOOSE)
    assert hit is not None
    assert hit.style == style
    assert (find(answer(ASK, number, unit), ASK, 5, None) is None) is (style != EXACT)


@pytest.mark.parametrize("number", [4, 7, 1, 0xFFFF])
def test_another_number_is_another_answer(number: int) -> None:
    assert find(answer(ASK, number), ASK, 5, LOOSE) is None


@pytest.mark.parametrize("unit", [1, 8, 254])
def test_another_unit_is_another_answer(unit: int) -> None:
    assert find(answer(ASK, 5, unit), ASK, 5, LOOSE) is None


@given(asks, asks, st.integers(1, 0xFFFF))
def test_an_answer_of_another_shape_is_none(ask: Ask, other: Ask, number: int) -> None:
    hit = find(answer(other, number), ask, number, LOOSE)
    assert (hit is not None) is (ask.head[1:] == other.head[1:] and (ask.unit == other.unit or other.unit in (0, 255)))


@given(st.binary(max_size=600))
def test_the_frames_in_a_stream_lie_one_after_the_other(data: bytes) -> None:
    last = 0
    for start, end in frames(data):
        assert last <= start < end <= len(data)
        last = end


@pytest.mark.parametrize("piece", [b"\0", b"\0\1\0\0\0\3", answer(ASK, 9), b"\0\0\0\0\0\6\7\3", b"\xff", b"\0\5\0\0\0"])
def test_any_flood_is_looked_through_in_time_that_grows_with_its_length(piece: bytes) -> None:
    data = piece * (16384 // len(piece))
    began = time.perf_counter()
    find(data, ASK, 5, LOOSE)
    find(data[:4096], ASK, 5, LOOSE)
    list(frames(data[-4 * LONGEST_BYTES :]))
    tail(data)
    assert time.perf_counter() - began < 0.5, "some milliseconds on a machine with nothing else to do"
