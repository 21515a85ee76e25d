"""The diagnosis itself, on made conversations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.local.trace import Piece, TracedExchange, crc16, exchanges
from gateway.technician.wiring_faults import Sign, count, diagnose

NAMES = {1: "one", 2: "two", 3: "three"}


def rtu(*data: int) -> bytes:
    return bytes(data) + crc16(bytes(data)).to_bytes(2, "little")


def asked(unit: int, words: int = 1) -> bytes:
    return rtu(unit, 3, 0, 0, 0, words)


def answered(unit: int, words: int = 1) -> bytes:
    return rtu(unit, 3, 2 * words, *range(2 * words))


def talk(*rounds: tuple[bytes, bytes]) -> list[TracedExchange]:
    pieces: list[Piece] = []
    for request, received in rounds:
        pieces.append((">", float(len(pieces)), request))
        if received:
            pieces.append(("<", float(len(pieces)), received))
    return exchanges(pieces, bus=True)


def broken(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 0x10])


def only(signs: list[Sign]) -> Sign:
    assert len(signs) == 1, signs
    return signs[0]


def test_swapped_wires_by_breaks_and_by_inverted_frames() -> None:
    breaks = only(diagnose("bus", NAMES, talk(*[(asked(1), b"\0\0\x80\0")] * 5)))
    inverted = only(diagnose("bus", NAMES, talk(*[(asked(1), bytes(b ^ 0xFF for b in answered(1)))] * 5)))

    assert "A and B are swapped" in breaks.what
    assert "A and B are swapped" in inverted.what
    assert "swap the two wires" in inverted.todo


def test_garbage_from_everybody_is_another_baud_rate() -> None:
    sign = only(diagnose("bus", NAMES, talk(*[(asked(unit), b"\x13\x37\x42\x91") for unit in (1, 2, 3)] * 3)))

    assert (sign.level, "another baud rate or parity" in sign.what) == ("wrong", True)


def test_two_devices_with_one_id() -> None:
    rounds = [(asked(1), answered(1)), (asked(2), broken(answered(2))), (asked(3), answered(3))] * 6

    sign = only(diagnose("bus", NAMES, talk(*rounds)))

    assert "two (unit 2): 6 of 6 answers damaged" in sign.what
    assert "take this device off" in sign.todo


def test_damage_that_grows_with_length_is_a_missing_termination() -> None:
    rounds = [(asked(unit), answered(unit)) for unit in (1, 2, 3)] * 5
    rounds += [(asked(unit, 40), broken(answered(unit, 40))) for unit in (1, 2, 3)] * 2
    rounds += [(asked(unit, 40), answered(unit, 40)) for unit in (1, 2, 3)] * 3

    signs = diagnose("bus", NAMES, talk(*rounds))

    assert any("no termination" in sign.what and "120 ohm" in sign.todo for sign in signs), signs


def test_a_healthy_line_is_good_and_an_idle_one_is_a_doubt() -> None:
    assert only(diagnose("bus", NAMES, talk((asked(1), answered(1))))).level == "good"
    assert only(diagnose("bus", NAMES, [])).level == "doubt"


def test_a_converters_word_for_nobody_is_silence() -> None:
    tallies = count(talk((asked(2), rtu(2, 0x83, 11)), (asked(1), rtu(1, 0x83, 2))))

    assert (tallies[2].nothing, tallies[2].answered) == (1, 0)
    assert tallies[1].answered == 1


@pytest.mark.parametrize("times", [2, 5])
def test_late_answers_are_named(times: int) -> None:
    rounds = [(asked(1), answered(1)), (asked(2), b""), (asked(3), answered(2) + answered(3))] * times

    signs = diagnose("bus", NAMES, talk(*rounds))

    assert any("two (unit 2) answers later than its time-out" in sign.what for sign in signs), signs


@given(st.lists(st.tuples(st.integers(1, 4), st.binary(max_size=12)), max_size=12))
def test_any_conversation_gives_signs_with_something_to_do(rounds: list[tuple[int, bytes]]) -> None:
    signs = diagnose("bus", NAMES, talk(*[(asked(unit), received) for unit, received in rounds]))

    assert signs
    assert all(sign.todo for sign in signs if sign.level != "good")
