"""Frames as people read them: by known frames, and by any."""

import time

from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import frames
from gateway.local.trace import Piece, answers, crc16, exchanges, is_sound, question, reply


def rtu(*data: int) -> bytes:
    frame = bytes(data)
    return frame + crc16(frame).to_bytes(2, "little")


ASK = rtu(12, 3, 0, 3, 0, 1)
ANSWER = rtu(12, 3, 2, 0, 1)


def talk(*pieces: tuple[str, bytes]) -> list[Piece]:
    return [(way, 1.0 + at / 100, data) for at, (way, data) in enumerate(pieces)]


def test_the_checksum_is_the_standards() -> None:
    assert ASK.hex(" ") == "0c 03 00 03 00 01 75 17"
    assert frames.crc16(ASK[:-2]) == ASK[-2:]


def test_an_answer_in_pieces_with_a_glitch_before_it() -> None:
    (one,) = exchanges(talk((">", ASK), ("<", b"\0" + ANSWER[:3]), ("<", ANSWER[3:])), bus=True)

    assert (one.unit, one.verdict, one.glitch) == (12, "answered", b"\0")
    assert one.seconds is not None
    assert round(one.seconds, 3) == 0.02
    assert question(one.pdu) == "read holding 3 x 1"
    assert one.answer is not None
    assert reply(one.pdu, one.answer.pdu) == "1"


def test_echo_exception_damage_nothing_and_stray() -> None:
    late = rtu(9, 3, 2, 0, 7)
    found = exchanges(
        talk(
            ("<", b"before"),
            (">", ASK), ("<", ASK + ANSWER),
            (">", ASK), ("<", rtu(12, 0x83, 2)),
            (">", ASK), ("<", ANSWER[:-1] + b"\0"),
            (">", ASK),
            (">", ASK), ("<", late),
            (">", ASK), ("<", ASK),
        ),
        bus=True,
    )  # fmt: skip

    assert [one.verdict for one in found] == ["answered", "exception", "garbled", "nothing", "nothing", "nothing"]
    assert [one.echoed for one in found] == [True, False, False, False, False, True]
    assert found[0].glitch == b""
    assert [frame.unit for frame in found[4].stray] == [9]
    assert found[1].answer is not None
    assert reply(found[1].pdu, found[1].answer.pdu) == "exception 2, illegal address"


def test_a_write_its_answer_and_its_echo_are_the_same_bytes() -> None:
    write = rtu(1, 5, 0, 0, 0xFF, 0)
    once, twice = (exchanges(talk((">", write), ("<", write * times)), bus=True)[0] for times in (1, 2))

    assert (once.verdict, once.echoed) == ("answered", False)
    assert (twice.verdict, twice.echoed) == ("answered", True)
    assert question(write[1:-2]) == "write coil 0 = 0xff00"


def test_bits_and_writes_of_many() -> None:
    assert reply(b"\x01\0\0\0\x03", b"\x01\x01\x05") == "101"
    assert question(bytes((16, 0, 4, 0, 1, 2, 0, 9))) == "write holding 4 x 1 = 00 09"
    assert question(b"\x2b\x0e") == "function 43 0e"


def test_modbus_tcp_pairs_by_transaction() -> None:
    def mbap(number: int, pdu: bytes) -> bytes:
        return number.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + b"\x03" + pdu

    ask, first, second = b"\x04\0\0\0\x01", b"\x04\x02\0\x05", b"\x84\x0b"
    came = mbap(2, second) + mbap(1, first)
    found = exchanges(talk((">", mbap(1, ask)), (">", mbap(2, ask)), ("<", came[:14]), ("<", came[14:])), bus=False)

    assert [one.verdict for one in found] == ["answered", "exception"]
    assert [one.unit for one in found] == [3, 3]


@given(st.binary(max_size=80), st.lists(st.binary(min_size=1, max_size=20), max_size=6))
def test_any_bytes_are_borne(noise: bytes, more: list[bytes]) -> None:
    pieces = talk((">", ASK), ("<", noise), *(("<", piece) for piece in more))

    for bus in (True, False):
        for one in exchanges(pieces if bus else [(">", 0.0, b"\0\1\0\0\0\6" + ASK), *pieces[1:]], bus=bus):
            assert one.verdict in ("answered", "exception", "garbled", "nothing")


@given(st.integers(1, 255), st.integers(1, 4), st.binary(min_size=1, max_size=100), st.binary(max_size=9))
def test_a_sound_answer_is_found_after_noise(unit: int, function: int, data: bytes, noise: bytes) -> None:
    frame = rtu(unit, function, len(data), *data)

    assert is_sound(frame)
    found = list(answers(noise + frame))
    assert any(one.unit == unit and one.pdu == frame[1:-2] for one in found) or len(found) >= 1


def test_what_bytes_may_cost_is_bounded() -> None:
    """Bytes that all look like the beginning of a frame."""
    worst = bytes((12, 3, 250)) * 1400
    for bus, ask in ((True, ASK), (False, b"\0\1\0\0\0\6" + ASK[:-2])):
        began = time.process_time()
        found = exchanges(talk((">", ask), *(("<", worst) for _ in range(250))), bus=bus)
        assert time.process_time() - began < 1.0
        assert len(found[0].received) <= 2048
